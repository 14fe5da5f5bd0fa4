#!lua flags=allow-oom
-- Applies one outbox row of a wallet, in the order of its number and once.
-- KEYS: wallet
-- ARGV: generation, number, amount
-- Gives: applied number | already last | hole last | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end

local last, number = tonumber(call('HGET', KEYS[1], 'seq') or 0), tonumber(ARGV[2])
if number <= last then return {'already', text(last)} end
if number ~= last + 1 then return {'hole', text(last)} end
local failed = commit(function()
  call('HINCRBY', KEYS[1], 'available', tonumber(ARGV[3]))
  call('HSET', KEYS[1], 'seq', ARGV[2])
end)
return failed or {'applied', ARGV[2]}
