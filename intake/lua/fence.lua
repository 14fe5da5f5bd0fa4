#!lua flags=allow-oom
-- Takes the generation away, so that nothing is sold before a rebuild, and leaves the rebuild's own mark. What the
-- highest generation was stays.
-- KEYS: gate
-- ARGV: the mark
-- Gives: fenced

call('HSET', KEYS[1], 'rebuilding', ARGV[1])
call('HDEL', KEYS[1], 'generation')
return {'done'}
