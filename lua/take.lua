-- Take free locks that nobody waits for, exclusively: the common case, kept short.
-- KEYS counter | key, queue
-- ARGV ttl | token
-- RETURNS fence granted | 0 held or waited for: ask acquire
-- Generated from src/schemes/lua/scripts/take.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local counter = KEYS[1]
local ttl = ARGV[1]
local count = (#KEYS - 1) / 2
local format = string.format
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
local free = all_free or call('EXISTS', KEYS[2 * i], KEYS[2 * i + 1]) == 0
local taken = free and call('SET', KEYS[2 * i], ARGV[i + 1] .. '#' .. fence, 'PX', ttl, 'NX')
replies[i] = taken and fence or 0
end
return replies
