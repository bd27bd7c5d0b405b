-- Give up a request, whether it holds, waits or neither, and let the next in line through.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token
-- RETURNS the sum of 1 if it held, 2 if others wait, 4 if more can be let in: call again

load(lock)
local held = drop(lock, token)
local queued = call('EXISTS', lock.queue) == 1
if queued then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return (held and 1 or 0) + (queued and 2 or 0) + (lock.unfinished and 4 or 0)
