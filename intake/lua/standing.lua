#!lua flags=allow-oom
-- Suspends and reactivates agents. Older news never overwrite newer. Of the same version the later news count: there is
-- one teller at a time, and a database that crashed before the teller's commit may give a version a second time.
-- KEYS: wallets
-- ARGV: generation, version, then "suspended" or "active" for each wallet
-- Gives: told count (of wallets that took it) | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end

local told = 0
local failed = commit(function()
  for i, wallet in ipairs(KEYS) do
    if tonumber(ARGV[2]) >= tonumber(call('HGET', wallet, 'standing') or 0) then
      call('HSET', wallet, 'status', ARGV[i + 2], 'standing', ARGV[2])
      told = told + 1
    end
  end
end)
return failed or {'told', text(told)}
