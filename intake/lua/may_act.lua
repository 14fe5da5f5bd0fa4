#!lua flags=allow-oom
-- Says whether an agent may act by a login, fenced like a sale, so that "yes" is never a gate that has forgotten.
-- KEYS: wallet, ended
-- ARGV: generation, session ("": none)
-- Gives: yes | suspended | revoked | fenced why

local fence = fenced(ARGV[1])
if fence then return {'fenced', fence} end
if call('HGET', KEYS[1], 'status') == 'suspended' then return {'suspended'} end
if ARGV[2] ~= '' and call('EXISTS', KEYS[2]) == 1 then return {'revoked'} end
return {'yes'}
