-- Lengthen a lease on one node. Where the node lost the key it is put back, but only if no grant has been made there
-- since: the node's fence is not beyond the holder's.
-- KEYS | key, counter
-- ARGV | token, fence, ttl
-- RETURNS 1 extended | 2 put back | 0 lost, and granted since | -1 somebody else's
-- QUICK

local holder = pcall_redis('GET', key)
local last = tonumber(call('GET', counter)) or 0
local life = math.max(call('PTTL', counter), ttl + 300000)
if holder == token then
  if call('PTTL', key) < tonumber(ttl) then call('PEXPIRE', key, ttl) end
  call('PEXPIRE', counter, string.format('%.0f', life))
  reply = 1
elseif holder then
  reply = -1
elseif last <= tonumber(fence) then
  call('SET', key, token, 'PX', ttl)
  call('SET', counter, fence, 'PX', string.format('%.0f', life))
  reply = 2
end
