-- Take a lock by force: from exactly the expected holder, or from everybody if that is ''. With a token the thief has the
-- vote then, exclusively; with '' the next in line. No renewal puts back what was taken.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV mark, channel | token, ttl, proposal, label, expected, fence
-- RETURNS {the last fence of the vote, victim, its fence, …} | {1 or 0 whether the expected holder held there, victim, its fence}

if not is_known then error({ err = 'FORGOT' }) end
load(lock)
-- A repeated call must not rob anybody.
local record = token ~= '' and vote_of(lock, token)
if record then
  lengthen(lock, token, tonumber(ttl))
  return { last_of(record) }
end

local victims = {}
if lock.kind == 'shared' then
  for _, holder in ipairs(call('ZRANGE', lock.key, 0, -1)) do
    if expected == '' or expected == holder then victims[#victims + 1] = holder end
  end
elseif lock.kind and (expected == '' or expected == lock.token) then
  victims[1] = lock.token
end

local reply = { #victims }
for _, victim in ipairs(victims) do
  if lock.kind == 'foreign' then
    call('DEL', lock.key)
    lock.kind = nil
  else
    local known = match(vote_of(lock, victim), RECORD)
    drop(lock, victim)
    tell(lock, victim, 'lost', tonumber(known))
    reply[#reply + 1], reply[#reply + 2] = victim, known
  end
end
if token ~= '' then
  reply[1] = vote(lock, token, 'exclusive', tonumber(ttl), 1, tonumber(proposal), label)
else
  -- Also if it does not hold here: it might come back. A turn has far fewer fences than that.
  if expected ~= '' and fence ~= '' then set_counter(lock, max(count_of(lock) + 1, fence + 10000), 0) end
  promote(lock, nil, nil, true)
end
return reply
