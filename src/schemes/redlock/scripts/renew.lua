-- Lengthen a lease to at least its ttl from now, and bring its fences to the node. If the node does not know the lease,
-- it gets it, unless somebody else holds there or may have held since: then its counter is beyond the lease's fences.
-- `how` is 'shared' if what was exclusive is to be shared from now on, and 'raise' if the fences are not a grant's yet. A
-- node without its mark counts for nothing.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV mark, channel | token, how, mode, fence, last, ttl, label
-- RETURNS 1 extended | 2 the same, but the node had forgotten its mark | 0 somebody may have held since | the token that holds instead

load(lock)
local record = vote_of(lock, token)
local number = tonumber(last)
local _, drawn, before = match(record or '', RECORD)
-- A grant's fences must be new to each node that knows them: two readers may have votes here, and whoever held before
-- may have had just these.
if how == 'raise' then
  local counter, first = count_of(lock), tonumber(fence)
  if record and tonumber(before) >= first then return 0 end
  local may_be_anothers = not record or (tonumber(drawn) ~= counter and tonumber(drawn) ~= number)
  if may_be_anothers and counter >= first then return 0 end
end
if record then
  -- It is not ours any more if others drew fences between our grant and this vote.
  if tonumber(before) > number then return 0 end
  -- The first write: once a script has written, a server at its memory limit does not refuse the rest of it.
  lengthen(lock, token, tonumber(ttl))
  local left = call('PTTL', lock.counter)
  if left < ttl + COUNTER_MARGIN then call('PEXPIRE', lock.counter, digits(ttl + COUNTER_MARGIN)) end
  local text = fence .. '#' .. last .. '#' .. before .. '#' .. label
  if record ~= text or left < 0 or how == 'shared' then
    local counter = count_of(lock)
    local is_highest = counter == tonumber(drawn)
    if counter < number then
      -- What others have raised since must not be put back with this vote, so the counter passes it.
      set_counter(lock, is_highest and number or number + 1, tonumber(ttl))
    elseif is_highest and lock.kind == 'exclusive' then
      set_counter(lock, number, tonumber(ttl))
    end
    if lock.kind == 'shared' then
      call('HSET', lock.holders, token, text)
    elseif how == 'shared' then
      local until_then = call('PTTL', lock.key)
      call('DEL', lock.key)
      lock.kind = nil
      admit(lock, token, 'shared', until_then, text)
      promote(lock)
    else
      call('SET', lock.key, token .. '#' .. text, 'PX', digits(call('PTTL', lock.key)))
    end
  end
else
  before = count_of(lock)
  if not compatible(lock, mode) then return lock.kind == 'shared' and 0 or lock.token end
  if before > number then return 0 end
  admit(lock, token, mode, tonumber(ttl), fence .. '#' .. last .. '#' .. digits(before) .. '#' .. label)
  set_counter(lock, number, tonumber(ttl))
end
leave_queue(lock, token)
return is_known and 1 or 2
