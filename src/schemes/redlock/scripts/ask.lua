-- Ask for the node's vote. `how` is 'take' (at once or not at all), 'bid' (wait for it in the queue, at this ticket), or
-- 'back' (wait, but let another have it now). Who waits gives up the vote that it had: the node decides anew.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV mark, channel | token, how, mode, ttl, fences, proposal, ticket, asked, waiting, listens, most, label
-- RETURNS the last fence of the vote | -(1 + the highest number that the node has seen) not at once | {rank, milliseconds until a holder's time ends or -1, 1 foreign or 2 shared or 0, exclusive holder, its label} | {'full'}

if not is_known then error({ err = 'FORGOT' }) end
load(lock)
if how == 'take' then
  local record = vote_of(lock, token)
  if record then
    lengthen(lock, token, tonumber(ttl))
    return last_of(record)
  end
  local queued = call('EXISTS', lock.queue) == 1
  if queued then
    promote(lock)
    queued = call('EXISTS', lock.queue) == 1
  end
  if queued or not compatible(lock, mode) then return -1 - high end
  return vote(lock, token, mode, tonumber(ttl), tonumber(fences), tonumber(proposal), label)
end

local had = drop(lock, token, true)
local place = call('ZSCORE', lock.queue, token)
if not place and not had and most ~= '' and not (compatible(lock, mode) and call('EXISTS', lock.queue) == 0) then
  if full(lock, tonumber(most)) then return { 'full' } end
end
call('ZADD', lock.queue, ticket, token)
high = max(high, tonumber(ticket))
call('HSET', lock.waiters, token, table.concat({ mode, ttl, digits(now + STALE), listens, waiting, fences, asked, label }, ' '))
call('PEXPIRE', lock.queue, QUEUE_TTL)
call('PEXPIRE', lock.waiters, QUEUE_TTL)
if how == 'bid' or (had and first_in_line(lock) ~= token) then promote(lock, token, tonumber(proposal), had) end
local record = vote_of(lock, token)
if record then return last_of(record) end
local held = lock.kind == 'exclusive'
return {
  call('ZRANK', lock.queue, token) or 0,
  time_left(lock),
  lock.kind == 'foreign' and 1 or lock.kind == 'shared' and 2 or 0,
  held and lock.token or '',
  held and select(4, match(lock.record, RECORD)) or '',
}
