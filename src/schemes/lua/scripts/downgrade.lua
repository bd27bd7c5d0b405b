-- Let others share what this very grant holds exclusively. Readers at the head of the line are let in.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, fence
-- RETURNS 1 shared now | 0 nobody holds it any more | -1 somebody else does

load(lock)
if holding(lock, token) ~= fence then
  return (lock.kind == nil or lock.kind == 'shared') and 0 or -1
end
if lock.kind == 'exclusive' then
  local expiry = now + max(1, call('PTTL', lock.key))
  drop(lock, token)
  join(lock, token, 'shared', fence, lock.label, expiry)
  promote(lock)
end
return 1
