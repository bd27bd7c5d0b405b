-- Make another token the holder in place of this one, in one step and with a fence of its own.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV mark, channel | token, heir, mode, ttl, proposal, label
-- RETURNS the last fence of the heir's vote | 0 the token does not hold here

if not is_known then error({ err = 'FORGOT' }) end
load(lock)
-- A repeated call finds the heir already there.
local inherited = vote_of(lock, heir)
if inherited then
  lengthen(lock, heir, tonumber(ttl))
  return last_of(inherited)
end
-- What is shared is not handed to somebody who wants it alone.
if not vote_of(lock, token) or lock.kind ~= mode then return 0 end
drop(lock, token)
local drawn = vote(lock, heir, mode, tonumber(ttl), 1, tonumber(proposal), label)
-- The first in line counted on another time.
promote(lock, nil, nil, true)
return drawn
