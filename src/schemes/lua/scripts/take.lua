-- Take free locks that nobody waits for, exclusively: the common case, kept short.
-- KEYS counter | key, queue
-- ARGV client, ttl | number
-- RETURNS fence granted | 0 held or waited for: ask acquire
-- QUICK

-- As draw_fence() does it, for all items at once.
local clock = call('TIME')
local drawn = clock[1] * 1000000 + clock[2]
local last
if redis.REDIS_VERSION_NUM then
  last = call('SET', counter, format('%.0f', drawn + count), 'PX', 3600000, 'GET')
else
  last = call('GET', counter)
  call('SET', counter, format('%.0f', drawn + count), 'PX', 3600000)
end
last = tonumber(last) or 0
if last > drawn then
  drawn = last
  call('SET', counter, format('%.0f', drawn + count), 'PX', 3600000)
end

local all_free = call('EXISTS', unpack(KEYS, 2)) == 0
for i = 1, count do
  local fence = format('%.0f', drawn + i)
  local free = all_free or call('EXISTS', key[i], queue[i]) == 0
  -- Two items may want the same lock.
  local taken = free and call('SET', key[i], client .. number[i] .. '#' .. fence, 'PX', ttl, 'NX')
  replies[i] = taken and fence or 0
end
