-- Give back an exclusive lock that nobody waits for: the common case, kept short.
-- KEYS | key, queue
-- ARGV | value
-- RETURNS 1 given back | 0 not held with this value, or waited for: ask release
-- QUICK

if pcall_redis('GET', key) == value and call('EXISTS', queue) == 0 then reply = call('DEL', key) end
