#!lua flags=allow-oom
-- Lets the gate sell again, unless what the rebuild wrote was lost meanwhile, or another rebuild began.
-- KEYS: gate
-- ARGV: the rebuild's mark, the new generation
-- Gives: switched | lost

if call('HGET', KEYS[1], 'rebuilding') ~= ARGV[1] then return {'lost'} end
call('HDEL', KEYS[1], 'rebuilding')
call('HSET', KEYS[1], 'generation', ARGV[2])
return {'switched'}
