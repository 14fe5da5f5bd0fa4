#!lua flags=allow-oom
-- Changes a selling draw's limits, once per intent.
-- KEYS: draw, limits
-- ARGV: generation, intent's id, limits of stake (straight, rambolito) and of payout in centavos, then the fields of
--       numbers with limits of their own and these
-- Gives: applied | refused (the draw is latched, or its cutoff has come) | no_draw | fenced why

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'latch', 'last_ms'})
local fence = fenced(ARGV[1], draw, 0, 0)
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local field = 'intent:' .. ARGV[2]
local answered = call('HGET', KEYS[1], field)
if answered then return {answered} end

local now = clock(draw.last_ms)
local answer = 'applied'
if draw.latch ~= '' or now >= tonumber(draw.cutoff_ms) then answer = 'refused' end
local failed = commit(function()
  if answer == 'refused' then return call('HSET', KEYS[1], field, answer) end
  call('DEL', KEYS[2])
  if #ARGV > 5 then call('HSET', KEYS[2], unpack(ARGV, 6)) end
  call('HSET', KEYS[1], 'limit_straight', ARGV[3], 'limit_rambolito', ARGV[4], 'limit_payout', ARGV[5],
    'numbered', #ARGV > 5 and '1' or '0', field, answer, 'last_ms', text(now))
end)
return failed or {answer}
