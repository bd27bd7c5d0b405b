-- Take the lock on one node from exactly this holder, and tell the managers that wait there. Where it holds and where
-- it does not, the node's fence is beyond the holder's from now on: no renewal puts the key back.
-- KEYS | key, counter, waiters
-- ARGV channel | holder, fence, life
-- RETURNS 1 dropped | 0 it did not hold | -micros fence too far ahead of this clock
-- QUICK

for i = 1, count do
  local key, counter, waiters, holder, fence, life = key[i], counter[i], waiters[i], holder[i], fence[i], life[i]
  local reply = 0
  local beyond = tonumber(fence) + 1
  local clock = call('TIME')
  local micros = clock[1] * 1000000 + clock[2]
  if beyond > micros + 10000000 then
    reply = -micros
  else
    -- Of another library's holder there is no fence.
    if beyond > 1 and (tonumber(call('GET', counter)) or 0) < beyond then
      call('SET', counter, format('%.0f', beyond), 'PX', math.max(call('PTTL', counter), tonumber(life)))
    end
    if pcall_redis('GET', key) == holder then
      reply = call('DEL', key)
      local clients = call('SMEMBERS', waiters)
      if #clients > 0 then call('DEL', waiters) end
      for _, each in ipairs(clients) do
        pcall_redis('PUBLISH', channel .. each, 'freed ' .. #clients .. ' - ' .. key)
      end
    end
  end
  replies[i] = reply
end
