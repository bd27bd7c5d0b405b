-- Give up a request, whether it holds, waits or neither, and let the next in line through.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token
-- RETURNS 0 it did not hold | 1 it held | 2 it held and somebody waited

load(lock)
local held = drop(lock, token)
local queued = call('EXISTS', lock.queue) == 1
if queued then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return held and (queued and 2 or 1) or 0
