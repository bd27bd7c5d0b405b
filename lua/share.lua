-- Leave a value for those who wait for the lock: only while this very grant holds it exclusively, and never in place of a
-- later holder's.
-- KEYS | key, value
-- ARGV | grant, fence, ttl, left
-- RETURNS 1 left | 0 not held by this grant | -1 a later holder's value is there
-- Generated from src/schemes/lua/scripts/share.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local count = (#KEYS - 0) / 2
local format = string.format
for i = 1, count do
local holder = pcall_redis('GET', KEYS[2 * i - 1])
local ours = type(holder) == 'string' and (holder == ARGV[4 * i - 3] or string.find(holder, ARGV[4 * i - 3] .. '#', 1, true) == 1)
local before = ours and string.match(call('GET', KEYS[2 * i]) or '', '^%d+')
if not ours then
replies[i] = 0
elseif before and tonumber(before) > tonumber(ARGV[4 * i - 2]) then
replies[i] = -1
else
call('SET', KEYS[2 * i], ARGV[4 * i - 2] .. ' ' .. ARGV[4 * i], 'PX', ARGV[4 * i - 1])
replies[i] = 1
end
end
return replies
