#!lua
-- Opens a draw that was never open: its journal begins with an open record at 0-1.
-- KEYS: draw, journal
-- ARGV: generation, draw's name, then the draw's fields and values
-- Gives: opened | already | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end
if call('EXISTS', KEYS[1]) == 1 then return {'already'} end
if call('EXISTS', KEYS[2]) == 1 then return {'fenced', 'a journal without its draw'} end

local now = clock()
local failed = commit(function()
  call('XADD', KEYS[2], '0-1', 'r', 'o|' .. text(now) .. '|' .. ARGV[2])
  call('HSET', KEYS[1], 'serial', '0', 'sub', '1', 'last_ms', text(now), 'latch', '', 'tickets', '0', 'stake', '0',
    'voids', '0', 'voided_stake', '0', unpack(ARGV, 3))
end)
return failed or {'opened'}
