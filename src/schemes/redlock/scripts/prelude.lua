-- What all scripts of one node share: how a lock is read, voted for, dropped and passed on.
-- A script works on items; `lock` holds the keys of one lock and what load() found there.
-- `node` is what the node remembers beside its locks; `mark` and `channel` are what most calls are given once.

local floor, max, min, match = math.floor, math.max, math.min, string.match

-- Bounds of one step, so that no call keeps the node busy.
local MOST_PROMOTIONS = 100
local MOST_COUNTED = 1000
-- A queue whose waiters all stopped asking goes by itself.
local QUEUE_TTL = 120000
-- How much longer than a lease its counter lives, and how long at least: no fence is drawn twice meanwhile.
local COUNTER_MARGIN, COUNTER_TTL = 60000, 300000

-- Lua's own conversion of numbers would write 1.7e15.
local function digits(number) return string.format('%.0f', number) end

local clock = call('TIME')
local now = clock[1] * 1000 + floor(clock[2] / 1000)

-- Its mark; the highest number that it has seen as a fence or a ticket; what all new fences must be above.
local remembered = call('HMGET', node, 'mark', 'high', 'floor')
local is_known = mark == remembered[1]
local high, least = tonumber(remembered[2]) or 0, tonumber(remembered[3]) or 0
local was_high = high

-- A vote as it is written: its first and its last fence, what the counter was before (0 for none), the holder's label.
local RECORD = '^(%d+)#(%d+)#(%d+)#(.*)$'
-- An exclusive holder's key has its token before that.
local HOLDER = '^([%w_-]+:%w+)#(%d+#%d+#%d+#.*)$'
-- A waiter's: mode, ttl, until when it counts as alive, whether it listens, how many of its process wait there, how many
-- fences its grant carries, the number of its latest question, label.
local WAITER = '^(%a+) (%d+) (%d+) (%d) (%d+) (%d+) (%d+) (.*)$'

-- lock.kind becomes 'exclusive' (with token and record), 'foreign' (with token), 'shared', or nil if nobody holds.
local function load(lock)
  local value = pcall_redis('GET', lock.key)
  if value == false then
    return
  elseif type(value) == 'string' then
    lock.token, lock.record = match(value, HOLDER)
    lock.kind = lock.token and 'exclusive' or 'foreign'
    lock.token = lock.token or value
  elseif call('TYPE', lock.key).ok == 'zset' and call('EXISTS', lock.holders) == 1 then
    local ended = call('ZRANGEBYSCORE', lock.key, '-inf', digits(now), 'LIMIT', 0, 1000)
    if #ended > 0 then
      call('ZREM', lock.key, unpack(ended))
      call('HDEL', lock.holders, unpack(ended))
    end
    if call('EXISTS', lock.key) == 1 then lock.kind = 'shared' end
  else
    -- Not for its type, but because this account may not look.
    if not match(value.err, 'WRONGTYPE') then error({ err = value.err }) end
    error({ err = 'WRONGTYPE the key of the lock holds a ' .. call('TYPE', lock.key).ok })
  end
end

-- The record of this token's vote, or nil.
local function vote_of(lock, token)
  if lock.kind == 'exclusive' then return lock.token == token and lock.record or nil end
  return lock.kind == 'shared' and call('HGET', lock.holders, token) or nil
end

local function last_of(record)
  local _, last = match(record, RECORD)
  return tonumber(last)
end

local function compatible(lock, mode)
  return lock.kind == nil or (lock.kind == 'shared' and mode == 'shared')
end

local function count_of(lock) return tonumber(call('GET', lock.counter)) or 0 end

-- It never falls, except to what it was before a vote that won nothing.
local function set_counter(lock, number, ttl)
  local life = max(COUNTER_TTL, ttl + COUNTER_MARGIN, call('PTTL', lock.counter))
  call('SET', lock.counter, digits(number), 'PX', digits(life))
  high = max(high, number)
end

-- Both keys of a shared lock end with its last holder.
local function expire_with_last(lock)
  local last = digits(call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2])
  call('PEXPIREAT', lock.key, last)
  call('PEXPIREAT', lock.holders, last)
end

-- Make the token a holder for that long.
local function admit(lock, token, mode, ttl, record)
  if mode == 'exclusive' then
    call('SET', lock.key, token .. '#' .. record, 'PX', digits(ttl))
    lock.kind, lock.token, lock.record = 'exclusive', token, record
    return
  end
  -- If somebody deleted the key by hand, what was known of its holders is still there.
  if not lock.kind then call('DEL', lock.key, lock.holders) end
  call('ZADD', lock.key, digits(now + ttl), token)
  call('HSET', lock.holders, token, record)
  expire_with_last(lock)
  lock.kind = 'shared'
end

-- Let the token's lease last at least that long from now. It needs no memory: at its limit a server refuses what does.
local function lengthen(lock, token, ttl)
  if lock.kind == 'exclusive' then
    if call('PTTL', lock.key) < ttl then call('PEXPIRE', lock.key, digits(ttl)) end
    return
  end
  local expiry = max(now + ttl, tonumber(call('ZSCORE', lock.key, token)))
  local latest = max(expiry, tonumber(call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2]))
  call('PEXPIREAT', lock.key, digits(latest))
  call('PEXPIREAT', lock.holders, digits(latest))
  call('ZADD', lock.key, digits(expiry), token)
end

-- Vote for the token: draw fences, from the proposal on if that is above all that there were. Answers the last of them.
local function vote(lock, token, mode, ttl, fences, proposal, label)
  local before = count_of(lock)
  local fence = max(proposal, before + 1, least + 1, before == 0 and high + 1 or 0)
  local last = fence + fences - 1
  set_counter(lock, last, ttl)
  admit(lock, token, mode, ttl, digits(fence) .. '#' .. digits(last) .. '#' .. digits(before) .. '#' .. label)
  return last
end

-- Take the token out of the holders; true if it was one. If its vote has won nothing, what it raised is put back.
local function drop(lock, token, has_lost)
  local record = vote_of(lock, token)
  if not record then return false end
  local _, last, before = match(record, RECORD)
  if has_lost and tonumber(last) == count_of(lock) then
    if before == '0' then call('DEL', lock.counter) else set_counter(lock, tonumber(before), 0) end
  end
  if lock.kind == 'exclusive' then
    call('DEL', lock.key)
    lock.kind = nil
  else
    call('ZREM', lock.key, token)
    call('HDEL', lock.holders, token)
    if call('EXISTS', lock.key) == 1 then expire_with_last(lock) else lock.kind = nil end
  end
  return true
end

local function first_in_line(lock) return call('ZRANGE', lock.queue, 0, 0)[1] end

-- Milliseconds until the last holder's time ends; negative if it never does.
local function time_left(lock)
  if not lock.kind then return 0 end
  if lock.kind ~= 'shared' then return call('PTTL', lock.key) end
  return call('ZRANGE', lock.key, -1, -1, 'WITHSCORES')[2] - now
end

local function leave_queue(lock, token)
  call('ZREM', lock.queue, token)
  call('HDEL', lock.waiters, token)
end

local function tell(lock, token, what, number, asked)
  local message = { what, digits(number), asked or 0, token, lock.key }
  pcall_redis('PUBLISH', channel .. match(token, '^[^:]+'), table.concat(message, ' '))
end

local function alive(token, stale_at, listens)
  if tonumber(stale_at) <= now then return false end
  if listens == '0' then return true end
  -- If the user may not ask, staleAt alone decides.
  local count = pcall_redis('PUBSUB', 'NUMSUB', channel .. match(token, '^[^:]+'))
  return count.err ~= nil or tonumber(count[2]) > 0
end

-- Vote for those at the head of the queue. `me`, if given, is asking now: it needs no push, and proposes a fence.
-- `moved` says that the queue has moved already: whoever becomes the first is told when to look for itself.
local function promote(lock, me, proposal, moved)
  for _ = 1, MOST_PROMOTIONS do
    local head = first_in_line(lock)
    if not head then return end
    local mode, ttl, stale_at, listens, _, fences, asked, label = match(call('HGET', lock.waiters, head) or '', WAITER)
    -- A dead head goes before its mode is looked at: else an incompatible one would block everybody behind it.
    if not mode or (head ~= me and not alive(head, stale_at, listens)) then
      leave_queue(lock, head)
    elseif not compatible(lock, mode) then
      break
    else
      leave_queue(lock, head)
      local last = vote(lock, head, mode, min(ttl, CLAIM), tonumber(fences), head == me and proposal or 0, label)
      if head ~= me then tell(lock, head, 'granted', last, asked) end
    end
    moved = true
  end
  local first = moved and first_in_line(lock)
  if first and first ~= me then tell(lock, first, 'next', max(0, time_left(lock))) end
end

-- True if at least that many wait. The dead are cleared away on the way.
local function full(lock, most)
  local place, count = 0, 0
  for _ = 1, MOST_COUNTED do
    if count >= most then return true end
    local token = call('ZRANGE', lock.queue, place, place)[1]
    if not token then return false end
    local mode, _, stale_at, listens, waiting = match(call('HGET', lock.waiters, token) or '', WAITER)
    if mode and alive(token, stale_at, listens) then
      place, count = place + 1, count + waiting
    else
      leave_queue(lock, token)
    end
  end
  return true
end
