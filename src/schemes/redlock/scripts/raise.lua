-- Raise a node's fence to the highest of the votes, where the lock is still the voter's.
-- KEYS | key, counter
-- ARGV | token, fence
-- RETURNS 1 raised | 0 somebody else's by now, or nobody's | -micros too far ahead of this clock
-- QUICK

for i = 1, count do
  local key, counter, token, fence = key[i], counter[i], token[i], fence[i]
  local reply = 0
  local clock = call('TIME')
  local micros = clock[1] * 1000000 + clock[2]
  if pcall_redis('GET', key) == token then
    if tonumber(fence) > micros + 10000000 then
      reply = -micros
    else
      local last = tonumber(call('GET', counter)) or 0
      local life = math.max(call('PTTL', counter), call('PTTL', key) + 300000)
      if last < tonumber(fence) then call('SET', counter, fence, 'PX', string.format('%.0f', life)) end
      reply = 1
    end
  end
  replies[i] = reply
end
