-- Make another token the holder in place of this one, in one step and with a fence of its own.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, fence, heir, mode, ttl, label
-- RETURNS fence granted | 0 not held by this grant

load(lock)
-- A repeated call finds the heir already there.
local inherited = holding(lock, heir)
if inherited then
  lengthen(lock, heir, ttl)
  return inherited
end
-- Permits are not handed on, and what is shared to nobody who wants it alone.
if holding(lock, token) ~= fence or lock.limit or lock.kind ~= mode then return 0 end
drop(lock, token)
local drawn = grant(lock, heir, mode, ttl, 1, label)
-- The first in line counted on another time.
promote(lock, nil, nil, true)
return drawn
