#!lua flags=allow-oom
-- Sets a field of a hash that exists, also on a full server.
-- KEYS: the hash
-- ARGV: field, value
-- Gives: marked | missing

if call('EXISTS', KEYS[1]) == 0 then return {'missing'} end
call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'marked'}
