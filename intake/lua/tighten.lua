#!lua flags=allow-oom
-- Takes an amount off a wallet's credit, once per intent. An answer of an earlier generation does not count: the rebuild
-- between them has made the wallet from PostgreSQL, where the intent is not posted yet.
-- KEYS: wallet, tightened
-- ARGV: generation, amount
-- Gives: applied available (what is left) | refused available (less than the amount) | fenced why

local REMEMBERED_S = 86400

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end
local generation, answer, available = string.match(call('GET', KEYS[2]) or '', '^(%d+)|(%a+)|(%-?%d+)$')
if generation == ARGV[1] then return {answer, available} end

local amount = tonumber(ARGV[2])
available, answer = tonumber(call('HGET', KEYS[1], 'available') or 0), 'refused'
if available >= amount then available, answer = available - amount, 'applied' end
local failed = commit(function()
  if answer == 'applied' then call('HINCRBY', KEYS[1], 'available', -amount) end
  call('SET', KEYS[2], table.concat({ARGV[1], answer, text(available)}, '|'), 'EX', REMEMBERED_S)
end)
return failed or {answer, text(available)}
