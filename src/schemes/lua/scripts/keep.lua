-- Let an exclusive lease end after exactly so long, under another label: its holder is done, but keeps others out.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, fence, ttl, label
-- RETURNS 1 kept | 0 not held by this grant

load(lock)
if lock.kind ~= 'exclusive' or holding(lock, token) ~= fence then return 0 end
local value = token .. '#' .. fence
call('SET', lock.key, label == '' and value or value .. '#' .. label, 'PX', ttl)
-- The first in line counted on another time.
promote(lock, nil, nil, true)
return 1
