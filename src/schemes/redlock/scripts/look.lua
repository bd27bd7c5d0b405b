-- Tell who holds on one node. Writes nothing.
-- KEYS | key, counter
-- ARGV |
-- RETURNS {holder or "", milliseconds left or -1, fence or ""}
-- QUICK

for i = 1, count do
  local key, counter = key[i], counter[i]
  local reply = 0
  local holder = pcall_redis('GET', key)
  if type(holder) == 'table' then
    reply = { 'ERR', holder.err }
  else
    reply = { holder or '', call('PTTL', key), call('GET', counter) or '' }
  end
  replies[i] = reply
end
