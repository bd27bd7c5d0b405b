-- Lengthen a lease, if this very grant still holds.
-- KEYS | key, holders
-- ARGV | token, fence, ttl
-- RETURNS 1 extended | 0 nobody holds it any more | -1 somebody else does

load(lock)
if holding(lock, token) == fence then
  lengthen(lock, token, ttl)
  return 1
end
return (lock.kind == nil or lock.kind == 'shared') and 0 or -1
