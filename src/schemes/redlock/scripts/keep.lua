-- Let an exclusive vote end after exactly so long, under another label: its holder is done, but keeps others out.
-- KEYS node | key, counter, queue, holders, waiters
-- ARGV mark, channel | token, ttl, label
-- RETURNS 1 kept | 0 the token does not hold here

if not is_known then error({ err = 'FORGOT' }) end
load(lock)
local record = lock.kind == 'exclusive' and vote_of(lock, token)
if not record then return 0 end
local first, last, before = match(record, RECORD)
admit(lock, token, 'exclusive', tonumber(ttl), first .. '#' .. last .. '#' .. before .. '#' .. label)
if call('PTTL', lock.counter) < ttl + COUNTER_MARGIN then
  call('PEXPIRE', lock.counter, digits(ttl + COUNTER_MARGIN))
end
-- The first in line counted on another time.
promote(lock, nil, nil, true)
return 1
