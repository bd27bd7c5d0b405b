-- Take a holder's key away on one node, and tell the managers that wait there if they are to know. A manager of which
-- nobody waits any more (client) need not be told henceforth.
-- KEYS | key, waiters
-- ARGV channel | holder, tell, client
-- RETURNS 1 dropped | 0 it did not hold
-- QUICK

for i = 1, count do
  local key, waiters, holder, tell, client = key[i], waiters[i], holder[i], tell[i], client[i]
  local reply = 0
  if pcall_redis('GET', key) == holder then
    reply = call('DEL', key)
    local clients = tell == '1' and call('SMEMBERS', waiters) or {}
    if #clients > 0 then call('DEL', waiters) end
    for _, each in ipairs(clients) do
      pcall_redis('PUBLISH', channel .. each, 'freed ' .. #clients .. ' - ' .. key)
    end
  end
  if client ~= '' then pcall_redis('SREM', waiters, client) end
  replies[i] = reply
end
