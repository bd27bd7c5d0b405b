-- Leave a value for those who wait for the lock: only while this very grant holds it exclusively, and never in place of a
-- later holder's.
-- KEYS | key, value
-- ARGV | grant, fence, ttl, left
-- RETURNS 1 left | 0 not held by this grant | -1 a later holder's value is there
-- QUICK

for i = 1, count do
  local holder = pcall_redis('GET', key[i])
  -- A label may follow.
  local ours = type(holder) == 'string' and (holder == grant[i] or string.find(holder, grant[i] .. '#', 1, true) == 1)
  local before = ours and string.match(call('GET', value[i]) or '', '^%d+')
  if not ours then
    replies[i] = 0
  elseif before and tonumber(before) > tonumber(fence[i]) then
    replies[i] = -1
  else
    call('SET', value[i], fence[i] .. ' ' .. left[i], 'PX', ttl[i])
    replies[i] = 1
  end
end
