-- Mark a node: from now on it counts, with fences above the floor. Not if another did so in the meantime, nor if it has
-- forgotten that, too, and perhaps leases of that time.
-- KEYS | node
-- ARGV | old, new, run, floor, absence
-- RETURNS 1 marked | 0 it has another mark than the old one, or another absence than this one ('': any)
-- QUICK

for i = 1, count do
  local reply = 0
  local is_same = absence[i] == '' or call('HGET', node[i], 'absence') == absence[i]
  if is_same and (call('HGET', node[i], 'mark') or '') == old[i] then
    local high = math.max(tonumber(call('HGET', node[i], 'high')) or 0, tonumber(floor[i]))
    call('HSET', node[i], 'mark', new[i], 'run', run[i], 'floor', floor[i], 'high', format('%.0f', high))
    call('HDEL', node[i], 'absence')
    reply = 1
  end
  replies[i] = reply
end
