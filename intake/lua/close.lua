#!lua flags=allow-oom
-- Closes a draw for good and writes its close marker; a second call gives the first one's marker.
-- KEYS: draw, journal, bell
-- ARGV: generation, witnessed serial, witnessed sub, why ("cutoff": only once that has come; "asked": at once)
-- Gives: closed marker-id record ring | early now cutoff | no_draw | fenced why

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'latch', 'last_ms', 'marker',
  'tickets', 'stake', 'voids', 'voided_stake'})
local fence = fenced(ARGV[1], draw, ARGV[2], ARGV[3])
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

if draw.marker then
  local found = call('XRANGE', KEYS[2], draw.marker, draw.marker)
  if not found[1] then return {'fenced', 'the close marker is not in the journal'} end
  return {'closed', draw.marker, found[1][2][2], '0'}
end

local now = clock(draw.last_ms)
local latch = draw.latch
if latch == '' and now >= tonumber(draw.cutoff_ms) then latch = 'cutoff' end
if latch == '' then
  if ARGV[4] == 'cutoff' then return {'early', text(now), draw.cutoff_ms} end
  latch = 'closed'
end

local serial, sub = tonumber(draw.serial), tonumber(draw.sub) + 1
local id
local record = table.concat({'z', text(now), draw.serial, draw.tickets, draw.stake, draw.voids, draw.voided_stake, latch}, '|')
local ring
local failed = commit(function()
  id = append(KEYS[2], serial, sub, record)
  call('HSET', KEYS[1], 'latch', latch, 'marker', id, 'sub', text(sub), 'last_ms', text(now))
  ring = call('SET', KEYS[3], '1', 'NX', 'EX', 2)
end)
if failed then return failed end
return {'closed', id, record, ring and '1' or '0'}
