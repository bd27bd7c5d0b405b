-- Give up a request, whether it holds, waits or neither, and vote for the next in line.
-- KEYS node | key, counter, holders, queue, waiters
-- ARGV channel | token, lost
-- RETURNS 1 it held | 0
-- QUICK

-- `lost` is 1 if its vote has won nothing: then what it raised is put back.
for i = 1, count do
  if call('EXISTS', queue[i]) == 1 then
    rest = true
  else
    local value = pcall_redis('GET', key[i])
    if value and type(value) ~= 'string' then
      rest = true
    elseif not value or string.sub(value, 1, #token[i] + 1) ~= token[i] .. '#' then
      replies[i] = 0
    elseif lost[i] == '0' then
      replies[i] = call('DEL', key[i])
    else
      rest = true
    end
  end
end
-- REST
load(lock)
local held = drop(lock, token, lost == '1')
if call('EXISTS', lock.queue) == 1 then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return held and 1 or 0
