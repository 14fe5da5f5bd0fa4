#!lua flags=allow-oom
-- Looks a ticket up by id or by serial, fenced like a sale, so that "not found" is never a gate that has forgotten.
-- KEYS: draw, journal, ids
-- ARGV: generation, witnessed serial, witnessed sub, "id" or "serial", the id or the serial
-- Gives: found state record serial sub (of the draw's last record) | dead serial sub (an id cancelled and never sold) | none latch | no_draw | fenced why

local draw = load(KEYS[1], {'serial', 'sub', 'latch'})
local fence = fenced(ARGV[1], draw, ARGV[2], ARGV[3])
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local state, record
if ARGV[4] == 'id' then
  state = call('HGET', KEYS[3], ARGV[5])
  if state == 'c' then return {'dead', draw.serial, draw.sub} end
  if state then record = record_at(KEYS[2], string.match(state, '^%d+')) end
else
  record = record_at(KEYS[2], ARGV[5])
  local id = record and string.match(record, '^t|%d+|(%x+)|')
  if not id then return {'none', draw.latch} end
  state = call('HGET', KEYS[3], id)
end
if not state then return {'none', draw.latch} end
if not record then return {'fenced', 'a known ticket is not in the journal'} end
return {'found', state, record, draw.serial, draw.sub}
