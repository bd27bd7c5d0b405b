-- Give up a request, whether it holds, waits or neither, and let the next in line through.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token
-- RETURNS 1 if it held, else 0

-- QUICK A holder that nobody waits for.
local value = pcall_redis('GET', key)
if type(value) == 'string' and string.sub(value, 1, #token + 1) == token .. '#' and call('EXISTS', queue) == 0 then
  call('DEL', key)
  reply = 1
end

-- STEP
load(lock)
local held = drop(lock, token)
if call('EXISTS', lock.queue) == 1 then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return held and 1 or 0
