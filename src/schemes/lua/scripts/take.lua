-- Take free locks that nobody waits for, exclusively: the common case, kept short.
-- KEYS counter | key, queue
-- ARGV ttl | token
-- RETURNS fence granted | 0 held or waited for: ask acquire
-- QUICK

-- As draw_fence() does it, for all items at once: the last of their fences is what the counter is set to. A number of 16
-- digits is written in two parts where that is right, for it takes three times as long in one.
local clock = call('TIME')
local micros = clock[2] + count
local last = micros < 1000000 and clock[1] .. format('%06d', micros) or format('%.0f', clock[1] * 1000000 + micros)
local before
if redis.REDIS_VERSION_NUM then
  before = call('SET', counter, last, 'PX', '3600000', 'GET')
else
  before = call('GET', counter)
  call('SET', counter, last, 'PX', '3600000')
end
local drawn = last - count
if before and before - drawn > 0 then
  drawn = tonumber(before)
  last = format('%.0f', drawn + count)
  call('SET', counter, last, 'PX', '3600000')
end

local all_free = call('EXISTS', unpack(KEYS, 2)) == 0
for i = 1, count do
  local fence = i == count and last or format('%.0f', drawn + i)
  local free = all_free or call('EXISTS', key[i], queue[i]) == 0
  -- Two items may want the same lock.
  local taken = free and call('SET', key[i], token[i] .. '#' .. fence, 'PX', ttl, 'NX')
  replies[i] = taken and fence or 0
end
