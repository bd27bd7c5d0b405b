-- Take a holder's key away on one node, and tell the managers that wait there if they are to know. A manager of which
-- nobody waits any more (client) need not be told henceforth.
-- KEYS | key, waiters
-- ARGV channel, tell, client | holder
-- RETURNS 1 dropped | 0 it did not hold
-- QUICK

local keys, held, told = {}, {}, {}
for i = 1, count do keys[i] = key[i] end
local holders = call('MGET', unpack(keys))
for i = 1, count do
  replies[i] = 0
  if holders[i] == holder[i] then
    replies[i] = 1
    held[#held + 1] = keys[i]
    told[#told + 1] = waiters[i]
  end
end
if #held > 0 then
  call('DEL', unpack(held))
  -- Mostly nobody waits.
  if tell == '1' and call('EXISTS', unpack(told)) > 0 then
    for i, waiters in ipairs(told) do
      local clients = call('SMEMBERS', waiters)
      if #clients > 0 then call('DEL', waiters) end
      for _, each in ipairs(clients) do
        pcall_redis('PUBLISH', channel .. each, 'freed ' .. #clients .. ' - ' .. held[i])
      end
    end
  end
end
if client ~= '' then
  for i = 1, count do
    pcall_redis('SREM', waiters[i], client)
  end
end
