#!lua flags=allow-oom
-- Suspends and reactivates agents. Older news never overwrite newer.
-- KEYS: wallets
-- ARGV: generation, version, then "suspended" or "active" for each wallet
-- Gives: told count (of those for whom it was news) | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end

local told = 0
local failed = commit(function()
  for i, wallet in ipairs(KEYS) do
    if tonumber(ARGV[2]) > tonumber(call('HGET', wallet, 'standing') or 0) then
      call('HSET', wallet, 'status', ARGV[i + 2], 'standing', ARGV[2])
      told = told + 1
    end
  end
end)
return failed or {'told', text(told)}
