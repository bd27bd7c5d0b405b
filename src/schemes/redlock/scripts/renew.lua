-- Lengthen a lease on one node, putting the key back if the node lost it: but only if no grant has been made there
-- since, that is, the node's fence is not beyond the holder's. A vote that came late may have drawn one; then the
-- key is there again and yet counts no more.
-- KEYS | key, counter
-- ARGV | token, fence, ttl
-- RETURNS 1 extended | 2 put back | 0 lost, and granted since | -1 somebody else's
-- QUICK

for i = 1, count do
  local key, counter, token, fence, ttl = key[i], counter[i], token[i], fence[i], ttl[i]
  local reply = 0
  local holder = pcall_redis('GET', key)
  local last = tonumber(call('GET', counter)) or 0
  local life = math.max(call('PTTL', counter), ttl + 300000)
  if holder and holder ~= token then
    reply = -1
  elseif last > tonumber(fence) then
    reply = 0
  else
    if not holder then
      call('SET', key, token, 'PX', ttl)
    elseif call('PTTL', key) < tonumber(ttl) then
      call('PEXPIRE', key, ttl)
    end
    call('SET', counter, fence, 'PX', string.format('%.0f', life))
    reply = holder and 1 or 2
  end
  replies[i] = reply
end
