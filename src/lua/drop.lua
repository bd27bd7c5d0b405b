-- Take a holder's key away on one node, and tell the managers that wait there if they are to know.
-- KEYS | key, waiters
-- ARGV channel | holder, tell
-- RETURNS 1 dropped | 0 it did not hold
-- QUICK

if pcall_redis('GET', key) == holder then
  reply = call('DEL', key)
  local clients = tell == '1' and call('SMEMBERS', waiters) or {}
  if #clients > 0 then call('DEL', waiters) end
  for _, client in ipairs(clients) do
    pcall_redis('PUBLISH', channel .. client, 'freed ' .. #clients .. ' - ' .. key)
  end
end
