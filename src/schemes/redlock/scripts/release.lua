-- Give up a request, whether it holds, waits or neither, and vote for the next in line.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV channel, lost | token
-- RETURNS 1 it held | 0
-- QUICK

-- `lost` is 1 if its vote has won nothing: then what it raised is put back.
local queues, keys, given = {}, {}, {}
for i = 1, count do queues[i], keys[i] = queue[i], key[i] end
local nobody_waits = call('EXISTS', unpack(queues)) == 0
local values = call('MGET', unpack(keys))
for i = 1, count do
  local value = values[i]
  if not nobody_waits and call('EXISTS', queue[i]) == 1 then
    rest = true
  elseif not value then
    -- There may be a shared lock.
    if call('EXISTS', key[i]) == 1 then rest = true else replies[i] = 0 end
  elseif string.sub(value, 1, #token[i] + 1) ~= token[i] .. '#' then
    replies[i] = 0
  elseif lost == '0' then
    replies[i] = 1
    given[#given + 1] = key[i]
  else
    rest = true
  end
end
if given[1] then call('DEL', unpack(given)) end
-- REST
load(lock)
local held = drop(lock, token, lost == '1')
if call('EXISTS', lock.queue) == 1 then
  local moved = first_in_line(lock) == token
  leave_queue(lock, token)
  promote(lock, nil, nil, moved)
end
return held and 1 or 0
