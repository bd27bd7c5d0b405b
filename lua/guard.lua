-- Carry out one command on each key, unless a later holder has written there already.
-- KEYS | key, guard
-- ARGV | fence, token, lifetime, command
-- RETURNS {1, the command's reply} done | {0, latest fence} refused | {2, its error} the command failed
-- Generated from src/fence/scripts/guard.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies = redis.call, redis.pcall, {}
local count = (#KEYS - 0) / 2
local format = string.format
for i = 1, count do
local guarded = call('GET', KEYS[2 * i]) or ''
local latest, owner = string.match(guarded, '^(%d+) (.*)$')
if latest and (tonumber(latest) > tonumber(ARGV[4 * i - 3]) or (latest == ARGV[4 * i - 3] and owner ~= ARGV[4 * i - 2])) then
replies[i] = { 0, latest }
else
local command, words, at = ARGV[4 * i], {}, 1
while at <= #command do
local length, start = string.match(command, '^(%d+):()', at)
at = start + length
words[#words + 1] = string.sub(command, start, at - 1)
end
call('SET', KEYS[2 * i], ARGV[4 * i - 3] .. ' ' .. ARGV[4 * i - 2], 'PX', ARGV[4 * i - 1])
local reply = pcall_redis(words[1], KEYS[2 * i - 1], unpack(words, 2))
if type(reply) == 'table' and reply.err then
call('SET', KEYS[2 * i], latest and guarded or '0 ', 'PX', latest and ARGV[4 * i - 1] or 1)
replies[i] = { 2, reply.err }
else
replies[i] = { 1, reply }
end
end
end
return replies
