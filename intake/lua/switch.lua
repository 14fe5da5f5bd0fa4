#!lua flags=allow-oom
-- Lets the gate sell again, unless what the rebuild wrote was lost meanwhile, or another rebuild began.
-- KEYS: gate
-- ARGV: the rebuild's mark, the new generation
-- Gives: switched | lost

if call('HGET', KEYS[1], 'rebuilding') ~= ARGV[1] then return {'lost'} end
call('HDEL', KEYS[1], 'rebuilding')
local highest = math.max(tonumber(ARGV[2]), tonumber(call('HGET', KEYS[1], 'highest') or 0))
call('HSET', KEYS[1], 'generation', ARGV[2], 'highest', text(highest))
return {'switched'}
