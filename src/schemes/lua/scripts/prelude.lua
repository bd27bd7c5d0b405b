-- What all scripts share: how a lock is read, granted, dropped and promoted.
-- A script works on items; `lock` holds the keys of one lock and what load() found there.
-- `counter`, `publish` and `channel` are what every script that may promote is given once.

local floor, max, min, match = math.floor, math.max, math.min, string.match

-- Bounds of one step, so that no call keeps the server busy; the next call continues. How many at the head of the queue
-- are let in or found dead, and how many waiters are counted.
local MOST_PROMOTIONS = 100
local MOST_COUNTED = 1000
-- How many holders whose time has ended the whole call may still clear away: its items may all be about one lock.
local purgeable = 1000
-- CLAIM (how long a pushed grant lasts until it is claimed) and STALE (how long a waiter that asks no more counts as
-- alive) are defined by the generator, in milliseconds.

-- A queue whose waiters all stopped asking goes by itself.
local QUEUE_TTL = 120000

-- Lua's own conversion of numbers would write 1.7e12.
local function digits(number) return format('%.0f', number) end

micros = micros or read_clock()
local now = floor(micros / 1000)

-- How a semaphore's requests write their mode: the permits they want, and how many there are.
local PERMITS = '^(%d+)/(%d+)$'
-- The field of a semaphore's holders that says how many permits they have together, and how many there are. No token
-- looks like it.
local TOTAL = 'permits'

-- Take tokens out of what is known of several holders. The sum is kept, so that nothing looks at all holders.
local function forget(lock, tokens)
  if lock.limit then
    for _, known in ipairs(call('HMGET', lock.holders, unpack(tokens))) do
      lock.used = lock.used - (match(known or '', '^%d+/(%d+)') or 0)
    end
    call('HSET', lock.holders, TOTAL, lock.used .. '/' .. lock.limit)
  end
  call('HDEL', lock.holders, unpack(tokens))
end

-- True if the last of several holders is gone.
local function emptied(lock)
  if call('EXISTS', lock.key) == 1 then return false end
  if lock.limit then call('DEL', lock.holders) end
  lock.kind, lock.limit, lock.used = nil, nil, nil
  return true
end

-- Take holders whose time has ended out of a shared lock.
local function purge(lock)
  local ended = call('ZRANGEBYSCORE', lock.key, '-inf', digits(now), 'LIMIT', 0, max(1, purgeable))
  if #ended == 0 then return end
  lock.unfinished = #ended >= purgeable
  if purgeable == 0 then return end
  purgeable = purgeable - #ended
  call('ZREM', lock.key, unpack(ended))
  forget(lock, ended)
end

-- lock.kind becomes 'exclusive' (with token, fence and label), 'foreign', 'shared' (with what is used and the limit, if
-- it is a semaphore), or nil where nobody holds.
local function read(lock)
  local value = pcall_redis('GET', lock.key)
  if value == false then
    return
  elseif type(value) == 'string' then
    lock.token, lock.fence, lock.label = match(value, '^([%w_-]+:%w+)#(%d+)#?(.*)$')
    lock.kind = lock.token and 'exclusive' or 'foreign'
  elseif call('TYPE', lock.key).ok == 'zset' and call('EXISTS', lock.holders) == 1 then
    -- Somebody else's sorted set has no holders beside it, and must not be purged.
    lock.kind = 'shared'
    local used
    used, lock.limit = match(call('HGET', lock.holders, TOTAL) or '', PERMITS)
    lock.used = tonumber(used)
  else
    -- Not for its type, but because this account may not look.
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

-- The fence of this token's grant, or nil.
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

-- Both keys of a shared lock end with its last holder.
local function expire_with_last(lock)
  local last = call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2]
  call('PEXPIREAT', lock.key, digits(last))
  call('PEXPIREAT', lock.holders, digits(last))
end

-- Make the token one of several holders, until the expiry.
local function join(lock, token, mode, fence, label, expiry)
  -- Where somebody deleted the key by hand, what was known of its holders is still there.
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

-- Make the token a holder for ttl milliseconds; answers the first of its fences.
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

-- Make a holder's time at least ttl from now; never less than it was. Writes even where it is long enough: a WAIT sent
-- behind the call proves what the call has written, and so proves nothing of one that has written nothing.
local function lengthen(lock, token, ttl)
  if lock.kind == 'shared' then
    -- At its memory limit a server refuses what may need memory, unless the script has written already.
    local expiry = max(now + ttl, tonumber(call('ZSCORE', lock.key, token)))
    local last = call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2]
    call('PEXPIREAT', lock.key, digits(max(expiry, tonumber(last))))
    call('PEXPIREAT', lock.holders, digits(max(expiry, tonumber(last))))
    call('ZADD', lock.key, digits(expiry), token)
  else
    call('PEXPIRE', lock.key, digits(max(ttl, call('PTTL', lock.key))))
  end
end

-- Take the token out of the holders; true if it was one.
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

-- Channels that belong to a slot came with Redis 7, as did its number.
if publish == 'SPUBLISH' and not redis.REDIS_VERSION_NUM then publish = 'PUBLISH' end

local function first_in_line(lock)
  return call('ZRANGE', lock.queue, 0, 0)[1]
end

-- Milliseconds until the last holder's time ends, of a semaphore the first one's; negative where it never does.
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

-- Of a grant it says how many fences it carries, and when the waiter asked last before it, by its own clock.
local function tell(lock, token, what, number, fences, asked)
  local message = { what, number, fences or 0, asked or 0, token, lock.key }
  pcall_redis(publish, channel .. match(token, '^[^:]+'), table.concat(message, ' '))
end

-- A waiter's record: mode, ttl, until when it counts as alive, whether it listens (0, 1, or the id of the server where it
-- does), how many of its process wait there, how many fences its grant should carry, the number of its latest question,
-- label.
local RECORD = '^(%S+) (%d+) (%d+) (%x+) (%d+) (%d+) (%d+) (.*)$'

-- True if this is surely not the server with that id.
local function elsewhere(id)
  local info = #id > 1 and pcall_redis('INFO', 'server')
  local here = type(info) == 'string' and match(info, 'run_id:(%x+)')
  return here and string.sub(here, 1, #id) ~= id
end

-- For how long a waiter may take to claim what it is granted; false if it is dead.
local function alive(token, stale_at, listens)
  if tonumber(stale_at) <= now then return false end
  if listens == '0' then return CLAIM end
  -- Where the user may not ask, staleAt alone decides.
  local count = pcall_redis('PUBSUB', publish == 'SPUBLISH' and 'SHARDNUMSUB' or 'NUMSUB', channel .. match(token, '^[^:]+'))
  if count.err ~= nil or tonumber(count[2]) > 0 then return CLAIM end
  -- Who listened to another server is still on its way here, after a failover; clients try again every two seconds.
  return elsewhere(listens) and 3 * CLAIM
end

-- Let those at the head of the queue in. `me`, if given, is asking now: it needs no push and gets its whole ttl.
-- `moved` says that the queue has moved already. The new first in line is told when to look for itself: the new
-- holder may be frozen, or die. If the step has reached its bound, its caller must call again.
local function promote(lock, me, my_ttl, moved)
  local more = true
  for _ = 1, MOST_PROMOTIONS do
    local head = first_in_line(lock)
    if not head then return end
    local mode, ttl, stale_at, listens, _, fences, asked, label = match(call('HGET', lock.waiters, head) or '', RECORD)
    local window = mode and (head == me and my_ttl or alive(head, stale_at, listens))
    -- A dead head goes before its mode is looked at: else an incompatible one would block everybody behind it.
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

-- While anybody holds it or waits, a name is that of a lock, or of a semaphore with one limit. Answers with what it is
-- in use as (0 for a lock) where that is not what the mode is of.
local function mismatch(lock, mode)
  local _, limit = match(mode, PERMITS)
  if not lock.kind then
    local head = first_in_line(lock)
    if not head then return end
    local _, their_limit = match(match(call('HGET', lock.waiters, head) or '', RECORD) or '', PERMITS)
    -- The head may be dead.
    if their_limit ~= limit then promote(lock) end
  end
  if lock.kind and lock.limit ~= limit then return { 'mismatch', lock.limit or 0 } end
end

-- True if at least that many wait. The dead are cleared away on the way.
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
