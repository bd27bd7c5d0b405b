-- Give back exclusive locks that nobody waits for: the common case, kept short.
-- KEYS | key, queue
-- ARGV | grant
-- RETURNS 1 given back | 0 not held with this grant, or waited for: ask release
-- Generated from src/schemes/lua/scripts/give.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local count = (#KEYS - 0) / 2
local format = string.format
if count == 1 then
local i = 1
local ours = call('GET', KEYS[2 * i - 1]) == ARGV[i] and call('EXISTS', KEYS[2 * i]) == 0
if ours then call('DEL', KEYS[2 * i - 1]) end
return { ours and 1 or 0 }
end
local keys, queues, given = {}, {}, {}
for i = 1, count do keys[i], queues[i] = KEYS[2 * i - 1], KEYS[2 * i] end
local values = call('MGET', unpack(keys))
local nobody_waits = call('EXISTS', unpack(queues)) == 0
for i = 1, count do
local ours = values[i] == ARGV[i] and (nobody_waits or call('EXISTS', queues[i]) == 0)
if ours then given[#given + 1] = keys[i] end
replies[i] = ours and 1 or 0
end
if #given > 0 then call('DEL', unpack(given)) end
return replies
