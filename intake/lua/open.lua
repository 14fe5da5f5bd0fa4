#!lua
-- Opens a draw that was never open: its journal begins with an open record at 0-1.
-- KEYS: draw, journal, limits
-- ARGV: generation, draw's name, how many of the arguments behind this one are of the draw, the draw's fields and
--       values, then the fields of numbers with limits of their own and these
-- Gives: opened | already | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end
if call('EXISTS', KEYS[1]) == 1 then return {'already'} end
if call('EXISTS', KEYS[2]) == 1 then return {'fenced', 'a journal without its draw'} end

local now = clock()
local last = 3 + tonumber(ARGV[3])
local failed = commit(function()
  call('XADD', KEYS[2], '0-1', 'r', 'o|' .. text(now) .. '|' .. ARGV[2])
  call('DEL', KEYS[3])
  if #ARGV > last then call('HSET', KEYS[3], unpack(ARGV, last + 1)) end
  call('HSET', KEYS[1], 'serial', '0', 'sub', '1', 'last_ms', text(now), 'latch', '', 'tickets', '0', 'stake', '0',
    'voids', '0', 'voided_stake', '0', 'numbered', #ARGV > last and '1' or '0', unpack(ARGV, 4, last))
end)
return failed or {'opened'}
