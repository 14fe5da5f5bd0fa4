#!lua flags=allow-oom
-- Moves a cutoff that has not come, once per intent.
-- KEYS: draw
-- ARGV: generation, intent's id, new cutoff in ms
-- Gives: applied | refused (the draw is latched, or the old or the new cutoff has come) | no_draw | fenced why

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'latch', 'last_ms'})
local fence = fenced(ARGV[1], draw, 0, 0)
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local field = 'intent:' .. ARGV[2]
local answered = call('HGET', KEYS[1], field)
if answered then return {answered} end

local now = clock(draw.last_ms)
local answer = 'applied'
if draw.cutoff_ms == ARGV[3] then
  answer = 'applied'             -- a rebuild already keeps the earliest cutoff that anybody asked for
elseif draw.latch ~= '' or now >= tonumber(draw.cutoff_ms) or now >= tonumber(ARGV[3]) then answer = 'refused' end
local failed = commit(function()
  if answer == 'applied' then
    call('HSET', KEYS[1], 'cutoff_ms', ARGV[3], field, answer, 'last_ms', text(now))
  else
    call('HSET', KEYS[1], field, answer)
  end
end)
return failed or {answer}
