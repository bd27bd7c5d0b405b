-- Take a lock, or a place in its queue. Asked again it is the claim of a pushed grant, or a waiter's poke.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, mode, ttl, wait, ticket, waiting, fences, asked, most, label
-- RETURNS the first fence granted | {'holding', fence} since before | 0 busy | {ticket, rank, milliseconds until a holder's time ends or -1, foreign, holder, its label, unfinished} pending | {'again'} more is to be cleared away first | {'mismatch', limit} | {'full'}

-- `wait` is 0 for no, 1 for yes, 2 for yes and a push will be heard, or the id of the server where it will be heard.
-- It may not wait if `most` (if any) wait already.
load(lock)
local fence = holding(lock, token)
if fence then
  lengthen(lock, token, ttl)
  if lock.kind == 'shared' then promote(lock) end
  return { 'holding', fence }
end

local place = call('ZSCORE', lock.queue, token)
local other = not place and mismatch(lock, mode)
if other then return other end

local bounded = most ~= '' and ticket == '' and not place
local queued = call('EXISTS', lock.queue) == 1
if queued and (wait == '0' or bounded) then
  promote(lock)
  queued = call('EXISTS', lock.queue) == 1
end
if not queued and compatible(lock, mode) then return grant(lock, token, mode, ttl, fences, label) end
if wait == '0' then return lock.unfinished and { 'again' } or 0 end
if bounded and full(lock, tonumber(most)) then return { 'full' } end

-- First what needs no memory: at its limit a server refuses the rest, unless the script has written already.
call('PEXPIRE', lock.queue, QUEUE_TTL)
call('PEXPIRE', lock.waiters, QUEUE_TTL)
if not place then
  if ticket == '' then
    local last = call('ZRANGE', lock.queue, -1, -1, 'WITHSCORES')[2]
    ticket = digits(max(tonumber(last or 0) + 1, micros))
  end
  call('ZADD', lock.queue, ticket, token)
end
local listens = wait == '1' and '0' or wait == '2' and '1' or wait
local record = { mode, ttl, digits(now + STALE), listens, waiting, fences, asked, label }
call('HSET', lock.waiters, token, table.concat(record, ' '))
call('PEXPIRE', lock.queue, QUEUE_TTL)
call('PEXPIRE', lock.waiters, QUEUE_TTL)

promote(lock, token, ttl)
fence = holding(lock, token)
if fence then return fence end

-- Each poke clears away up to two dead waiters right before it, so that a long dead queue is gone in time.
local rank = call('ZRANK', lock.queue, token)
if place and rank > 0 then
  for _, other in ipairs(call('ZRANGE', lock.queue, max(0, rank - 2), rank - 1)) do
    local _, _, stale_at, their_ear = match(call('HGET', lock.waiters, other) or '', RECORD)
    if not stale_at or not alive(other, stale_at, their_ear) then
      leave_queue(lock, other)
      rank = rank - 1
    end
  end
end
local held = lock.kind == 'exclusive'
return {
  call('ZSCORE', lock.queue, token),
  rank,
  time_left(lock),
  lock.kind == 'foreign' and 1 or 0,
  held and lock.token or '',
  held and lock.label or '',
  lock.unfinished and 1 or 0,
}
