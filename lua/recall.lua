-- What the last holder left for those who waited for the lock. Writes nothing.
-- KEYS | value
-- ARGV |
-- RETURNS {what is there or '', milliseconds until it goes}
-- Generated from src/schemes/lua/scripts/recall.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local count = (#KEYS - 0) / 1
local format = string.format
for i = 1, count do
local found = call('GET', KEYS[i])
replies[i] = { found or '', found and call('PTTL', KEYS[i]) or 0 }
end
return replies
