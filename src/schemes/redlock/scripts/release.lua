-- Give up a request, whether it holds, waits or neither, and vote for the next in line.
-- KEYS node | key, counter, holders, queue, waiters
-- ARGV channel | token, lost
-- RETURNS 1 it held | 0

-- `lost` is 1 if its vote has won nothing: then what it raised is put back.
load(lock)
local held = drop(lock, token, lost == '1')
if call('EXISTS', lock.queue) == 1 then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return held and 1 or 0
