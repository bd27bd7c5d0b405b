-- Lengthen exclusive leases: the common case, kept short.
-- KEYS | key
-- ARGV ttl | grant
-- RETURNS 1 lasts that long, or longer | 0 not held exclusively with this grant: ask extend
-- Generated from src/schemes/lua/scripts/renew.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local ttl = ARGV[1]
local count = (#KEYS - 0) / 1
local format = string.format
local values = call('MGET', unpack(KEYS))
for i = 1, count do
local value = values[i]
local ours = value == ARGV[i + 1] or (value and string.find(value, ARGV[i + 1] .. '#', 1, true) == 1)
if ours and call('PTTL', KEYS[i]) < tonumber(ttl) then call('PEXPIRE', KEYS[i], ttl) end
replies[i] = ours and 1 or 0
end
return replies
