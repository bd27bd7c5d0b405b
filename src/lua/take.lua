-- Take a free lock that nobody waits for, exclusively: the common case, kept short.
-- KEYS counter | key, queue
-- ARGV | token, ttl
-- RETURNS fence granted | 0 held or waited for: ask acquire
-- QUICK

if call('EXISTS', key, queue) == 0 then
  reply = draw_fence(1)
  call('SET', key, token .. '#' .. reply, 'PX', ttl)
end
