-- Give up a request, whether it holds, waits or neither, and let the next in line through.
-- KEYS key, holders, counter, queue, waiters
-- ARGV publish, channel | token
-- RETURNS 1 if it held, else 0

load(lock)
local held = drop(lock, token)
if call('EXISTS', lock.queue) == 1 then
  leave_queue(lock, token)
  promote(lock)
end
return held and 1 or 0
