-- Lengthen exclusive leases: the common case, kept short.
-- KEYS | key
-- ARGV ttl | grant
-- RETURNS 1 lasts that long, or longer | 0 not held exclusively with this grant: ask extend
-- QUICK

local values = call('MGET', unpack(KEYS))
for i = 1, count do
  local value = values[i]
  -- A label may follow.
  local ours = value == grant[i] or (value and string.find(value, grant[i] .. '#', 1, true) == 1)
  if ours and call('PTTL', key[i]) < tonumber(ttl) then call('PEXPIRE', key[i], ttl) end
  replies[i] = ours and 1 or 0
end
