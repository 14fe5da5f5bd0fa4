#!lua flags=allow-oom
-- Ends logins: no access token of theirs is taken any more.
-- KEYS: ended
-- ARGV: generation, seconds until the last of their access tokens has expired
-- Gives: ended | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end
local failed = commit(function()
  for _, session in ipairs(KEYS) do call('SET', session, '1', 'EX', ARGV[2]) end
end)
return failed or {'ended'}
