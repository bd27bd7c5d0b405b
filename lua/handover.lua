-- Make another token the holder in place of this one, in one step and with a fence of its own.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, fence, heir, mode, ttl, label
-- RETURNS fence granted | 0 not held by this grant
-- Generated from src/schemes/lua/scripts/handover.lua. Specified in docs/protocol.md.

local call, pcall_redis, replies, done = redis.call, redis.pcall, {}, 0
local counter, publish, channel
counter = KEYS[1]
publish = ARGV[1]
channel = ARGV[2]
local count = (#KEYS - 1) / 4
local format = string.format
local FENCE_TTL = '3600000'
local function read_clock()
local clock = call('TIME')
return clock[1] * 1000000 + clock[2]
end
local micros
local drawn
local function draw_fence(wanted)
micros = micros or read_clock()
local last = drawn or tonumber(call('GET', counter) or 0)
local fence = last < micros and micros or last + 1
drawn = fence + wanted - 1
return format('%.0f', fence)
end
local CLAIM, STALE = 1000, 15000
local floor, max, min, match = math.floor, math.max, math.min, string.match
local MOST_PROMOTIONS = 100
local MOST_COUNTED = 1000
local purgeable = 1000
local QUEUE_TTL = 120000
local function digits(number) return format('%.0f', number) end
micros = micros or read_clock()
local now = floor(micros / 1000)
local PERMITS = '^(%d+)/(%d+)$'
local TOTAL = 'permits'
local function forget(lock, tokens)
if lock.limit then
for _, known in ipairs(call('HMGET', lock.holders, unpack(tokens))) do
lock.used = lock.used - (match(known or '', '^%d+/(%d+)') or 0)
end
call('HSET', lock.holders, TOTAL, lock.used .. '/' .. lock.limit)
end
call('HDEL', lock.holders, unpack(tokens))
end
local function emptied(lock)
if call('EXISTS', lock.key) == 1 then return false end
if lock.limit then call('DEL', lock.holders) end
lock.kind, lock.limit, lock.used = nil, nil, nil
return true
end
local function purge(lock)
local ended = call('ZRANGEBYSCORE', lock.key, '-inf', digits(now), 'LIMIT', 0, max(1, purgeable))
if #ended == 0 then return end
lock.unfinished = #ended >= purgeable
if purgeable == 0 then return end
purgeable = purgeable - #ended
call('ZREM', lock.key, unpack(ended))
forget(lock, ended)
end
local function read(lock)
local value = pcall_redis('GET', lock.key)
if value == false then
return
elseif type(value) == 'string' then
lock.token, lock.fence, lock.label = match(value, '^([%w_-]+:%w+)#(%d+)#?(.*)$')
lock.kind = lock.token and 'exclusive' or 'foreign'
elseif call('TYPE', lock.key).ok == 'zset' and call('EXISTS', lock.holders) == 1 then
lock.kind = 'shared'
local used
used, lock.limit = match(call('HGET', lock.holders, TOTAL) or '', PERMITS)
lock.used = tonumber(used)
else
if not match(value.err, 'WRONGTYPE') then error({ err = value.err }) end
error({ err = 'WRONGTYPE the key of the lock holds a ' .. call('TYPE', lock.key).ok })
end
end
local function load(lock)
read(lock)
if lock.kind == 'shared' then
purge(lock)
emptied(lock)
end
end
local function holding(lock, token)
if lock.kind == 'exclusive' and lock.token == token then
return lock.fence
elseif lock.kind == 'shared' and tonumber(call('ZSCORE', lock.key, token) or 0) > now then
return match(call('HGET', lock.holders, token) or '', '^%d+')
end
end
local function compatible(lock, mode)
if not lock.limit then return lock.kind == nil or (lock.kind == 'shared' and mode == 'shared') end
local permits, limit = match(mode, PERMITS)
return limit == lock.limit and lock.used + permits <= tonumber(limit)
end
local function expire_with_last(lock)
local last = call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2]
call('PEXPIREAT', lock.key, digits(last))
call('PEXPIREAT', lock.holders, digits(last))
end
local function join(lock, token, mode, fence, label, expiry)
if not lock.kind then call('DEL', lock.holders) end
local permits, limit = match(mode, PERMITS)
if permits then
lock.used, lock.limit = (lock.used or 0) + permits, limit
call('HSET', lock.holders, TOTAL, lock.used .. '/' .. limit)
fence = fence .. '/' .. permits
end
call('ZADD', lock.key, digits(expiry), token)
call('HSET', lock.holders, token, label == '' and fence or fence .. ' ' .. label)
expire_with_last(lock)
lock.kind = 'shared'
end
local function grant(lock, token, mode, ttl, fences, label)
local fence = draw_fence(fences)
if mode == 'exclusive' then
local value = token .. '#' .. fence
call('SET', lock.key, label == '' and value or value .. '#' .. label, 'PX', ttl)
lock.kind, lock.token, lock.fence, lock.label = 'exclusive', token, fence, label
else
join(lock, token, mode, fence, label, now + ttl)
end
return fence
end
local function lengthen(lock, token, ttl)
if lock.kind == 'shared' then
local expiry = max(now + ttl, tonumber(call('ZSCORE', lock.key, token)))
local last = call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2]
call('PEXPIREAT', lock.key, digits(max(expiry, tonumber(last))))
call('PEXPIREAT', lock.holders, digits(max(expiry, tonumber(last))))
call('ZADD', lock.key, digits(expiry), token)
else
call('PEXPIRE', lock.key, digits(max(ttl, call('PTTL', lock.key))))
end
end
local function drop(lock, token)
if lock.kind == 'exclusive' and lock.token == token then
call('DEL', lock.key)
lock.kind = nil
return true
elseif lock.kind == 'shared' and call('ZREM', lock.key, token) == 1 then
forget(lock, { token })
if not emptied(lock) then expire_with_last(lock) end
return true
end
return false
end
if publish == 'SPUBLISH' and not redis.REDIS_VERSION_NUM then publish = 'PUBLISH' end
local function first_in_line(lock)
return call('ZRANGE', lock.queue, 0, 0)[1]
end
local function time_left(lock)
if lock.kind == 'shared' then
local at = lock.limit and 0 or -1
return tonumber(call('ZRANGE', lock.key, at, at, 'WITHSCORES')[2]) - now
end
return call('PTTL', lock.key)
end
local function leave_queue(lock, token)
call('ZREM', lock.queue, token)
call('HDEL', lock.waiters, token)
end
local function tell(lock, token, what, number, fences, asked)
local message = { what, number, fences or 0, asked or 0, token, lock.key }
pcall_redis(publish, channel .. match(token, '^[^:]+'), table.concat(message, ' '))
end
local RECORD = '^(%S+) (%d+) (%d+) (%x+) (%d+) (%d+) (%d+) (.*)$'
local function elsewhere(id)
local info = #id > 1 and pcall_redis('INFO', 'server')
local here = type(info) == 'string' and match(info, 'run_id:(%x+)')
return here and string.sub(here, 1, #id) ~= id
end
local function alive(token, stale_at, listens)
if tonumber(stale_at) <= now then return false end
if listens == '0' then return CLAIM end
local count = pcall_redis('PUBSUB', publish == 'SPUBLISH' and 'SHARDNUMSUB' or 'NUMSUB', channel .. match(token, '^[^:]+'))
if count.err ~= nil or tonumber(count[2]) > 0 then return CLAIM end
return elsewhere(listens) and 3 * CLAIM
end
local function promote(lock, me, my_ttl, moved)
local more = true
for _ = 1, MOST_PROMOTIONS do
local head = first_in_line(lock)
if not head then return end
local mode, ttl, stale_at, listens, _, fences, asked, label = match(call('HGET', lock.waiters, head) or '', RECORD)
local window = mode and (head == me and my_ttl or alive(head, stale_at, listens))
if not window then
leave_queue(lock, head)
elseif not compatible(lock, mode) then
more = false
break
else
leave_queue(lock, head)
local fence = grant(lock, head, mode, min(ttl, window), fences, label)
if head ~= me then tell(lock, head, 'granted', fence, fences, asked) end
end
moved = true
end
if more then lock.unfinished = true end
local first = moved and first_in_line(lock)
if first and first ~= me then tell(lock, first, 'next', more and 0 or max(0, time_left(lock))) end
end
local function mismatch(lock, mode)
local _, limit = match(mode, PERMITS)
if not lock.kind then
local head = first_in_line(lock)
if not head then return end
local _, their_limit = match(match(call('HGET', lock.waiters, head) or '', RECORD) or '', PERMITS)
if their_limit ~= limit then promote(lock) end
end
if lock.kind and lock.limit ~= limit then return { 'mismatch', lock.limit or 0 } end
end
local function full(lock, most)
local place, count = 0, 0
for _ = 1, MOST_COUNTED do
if count >= most then return true end
local token = call('ZRANGE', lock.queue, place, place)[1]
if not token then return false end
local mode, _, stale_at, listens, waiting = match(call('HGET', lock.waiters, token) or '', RECORD)
if mode and alive(token, stale_at, listens) then
place, count = place + 1, count + waiting
else
leave_queue(lock, token)
end
end
return count + call('ZCARD', lock.queue) - place >= most
end
local function step(lock, token, fence, heir, mode, ttl, label)
load(lock)
local inherited = holding(lock, heir)
if inherited then
lengthen(lock, heir, ttl)
return inherited
end
if holding(lock, token) ~= fence or lock.limit or lock.kind ~= mode then return 0 end
drop(lock, token)
local drawn = grant(lock, heir, mode, ttl, 1, label)
promote(lock, nil, nil, true)
return drawn
end
while done < count do
local k, a = 1 + done * 4, 2 + done * 6
local lock = { key = KEYS[k + 1], holders = KEYS[k + 2], queue = KEYS[k + 3], waiters = KEYS[k + 4] }
local ok, reply = pcall(step, lock, ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
done = done + 1
replies[done] = ok and reply or { 'ERR', type(reply) == 'table' and reply.err or tostring(reply) }
end
if drawn then call('SET', counter, format('%.0f', drawn), 'PX', FENCE_TTL) end
return replies
