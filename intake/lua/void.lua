#!lua flags=allow-oom
-- Voids a sold ticket, or kills an id that was sold, voided or never seen.
-- KEYS: draw, journal, ids, exposure, wallet, bell
-- ARGV: generation, witnessed serial, witnessed sub, kind ("v" void or "c" cancel), agent, ticket id,
--       ticket's serial (0: the caller knows of no ticket), stake, void window in ms, reason, then (exposure field, stake)…
-- Gives: voided serial sub record ring | never_sold serial sub record ring | repeated outcome serial sub (of the
--        draw's last record) | already serial sub | over | not_open | full | no_draw | changed (what is known of the id is not what the caller read) | fenced why

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'latch', 'last_ms', 'opens_ms'})
local fence = fenced(ARGV[1], draw, ARGV[2], ARGV[3])
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local kind, agent, id, ticket, stake = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local known = call('HGET', KEYS[3], id)
if (string.match(known or '', '^%d+') or '0') ~= ticket then
  if known == 'c' and kind == 'c' then return {'repeated', 'never_sold', draw.serial, draw.sub} end
  return {'changed'}
end
local state = string.sub(known or '', -1)
if state == 'c' then
  if kind == 'v' then return {'already', draw.serial, draw.sub} end
  return {'repeated', ticket == '0' and 'never_sold' or 'voided', draw.serial, draw.sub}
end
if state == 'v' and kind == 'v' then return {'already', draw.serial, draw.sub} end

local now = clock(draw.last_ms)
local latch = draw.latch
if latch == '' and now >= tonumber(draw.cutoff_ms) then
  latch = 'cutoff'
  call('HSET', KEYS[1], 'latch', latch, 'last_ms', text(now))
end
if latch ~= '' then
  -- Nothing is sold any more: an unseen id can only die, and a voided ticket stays voided. The journal has ended, so
  -- it is only remembered here; after a rebuild the id meets the latch instead.
  if ticket ~= '0' and state ~= 'v' then return {'over'} end
  call('HSET', KEYS[3], id, (ticket == '0' and '' or ticket) .. 'c')
  return {'repeated', ticket == '0' and 'never_sold' or 'voided', draw.serial, draw.sub}
end
if now < tonumber(draw.opens_ms) then return {'not_open'} end

if state == 'v' then
  stake = 0                     -- the stake went back when the ticket was voided; only the id dies now
elseif ticket ~= '0' then
  local accepted = string.match(record_at(KEYS[2], ticket) or '', '^t|%d+|%x+|(%d+)|')
  if not accepted then return {'fenced', 'a known ticket is not in the journal'} end
  if now > tonumber(accepted) + tonumber(ARGV[9]) then return {'over'} end
end

local serial, sub = tonumber(draw.serial), tonumber(draw.sub) + 1
if sub >= SUBS_MAX then return {'full'} end
local record = table.concat({kind, agent, id, text(now), ticket, text(stake), ARGV[10]}, '|')
local ring
local failed = commit(function()
  append(KEYS[2], serial, sub, record)
  call('HSET', KEYS[3], id, (ticket == '0' and '' or ticket) .. kind)
  if stake > 0 then
    for i = 11, #ARGV, 2 do call('HINCRBY', KEYS[4], ARGV[i], -tonumber(ARGV[i + 1])) end
    call('HINCRBY', KEYS[5], 'available', stake)
    call('HINCRBY', KEYS[1], 'voids', 1)
    call('HINCRBY', KEYS[1], 'voided_stake', stake)
  end
  call('HSET', KEYS[1], 'sub', text(sub), 'last_ms', text(now))
  ring = call('SET', KEYS[6], '1', 'NX', 'EX', 2)
end)
if failed then return failed end
return {ticket == '0' and 'never_sold' or 'voided', text(serial), text(sub), record, ring and '1' or '0'}
