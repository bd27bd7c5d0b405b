-- Tell who holds and who waits on one node. Writes nothing.
-- KEYS | key, holders, queue, waiters
-- ARGV |
-- RETURNS {kind, {token, record, milliseconds left, …}, {token, ticket, mode, how many wait there, label, …}}
-- QUICK

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 1, count do
  local kind, held, waiting = '', {}, {}
  local value = pcall_redis('GET', key[i])
  if type(value) == 'string' then
    local token, record = string.match(value, '^([%w_-]+:%w+)#(%d+#%d+#%d+#.*)$')
    kind = token and 'exclusive' or 'foreign'
    held = { token or value, record or '', call('PTTL', key[i]) }
  elseif value and call('TYPE', key[i]).ok == 'zset' and call('EXISTS', holders[i]) == 1 then
    local live = call('ZRANGEBYSCORE', key[i], '(' .. format('%.0f', now), '+inf', 'WITHSCORES')
    for j = 1, #live, 2 do
      kind = 'shared'
      for _, each in ipairs({ live[j], call('HGET', holders[i], live[j]) or '', live[j + 1] - now }) do held[#held + 1] = each end
    end
  elseif value then
    kind = 'other'
  end
  local line = call('ZRANGE', queue[i], 0, -1, 'WITHSCORES')
  for j = 1, #line, 2 do
    local mode, stale_at, waits, label =
      string.match(call('HGET', waiters[i], line[j]) or '', '^(%a+) %d+ (%d+) %d (%d+) %d+ %d+ (.*)$')
    if mode and tonumber(stale_at) > now then
      for _, each in ipairs({ line[j], line[j + 1], mode, waits, label }) do waiting[#waiting + 1] = each end
    end
  end
  replies[i] = { kind, held, waiting }
end
