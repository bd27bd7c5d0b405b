-- Tell who holds and who waits. Writes nothing.
-- KEYS | key, holders, queue, waiters
-- ARGV |
-- RETURNS {kind, {token, fence, milliseconds left, label, permits, …}, {token, mode, how many wait there, label, …}, limit}

read(lock)
local held, waiting = {}, {}
if lock.kind == 'exclusive' then
  held = { lock.token, lock.fence, call('PTTL', lock.key), lock.label, '' }
elseif lock.kind == 'foreign' then
  held = { call('GET', lock.key), '', call('PTTL', lock.key), '', '' }
elseif lock.kind == 'shared' then
  local live = call('ZRANGEBYSCORE', lock.key, '(' .. digits(now), '+inf', 'WITHSCORES')
  for i = 1, #live, 2 do
    local fence, permits, label = match(call('HGET', lock.holders, live[i]) or '', '^(%d*)/?(%d*) ?(.*)$')
    for _, field in ipairs({ live[i], fence, live[i + 1] - now, label, permits }) do held[#held + 1] = field end
  end
  if #live == 0 then lock.kind = nil end
end

for _, token in ipairs(call('ZRANGE', lock.queue, 0, -1)) do
  local mode, _, stale_at, _, waiting_there, _, _, label = match(call('HGET', lock.waiters, token) or '', RECORD)
  if mode and tonumber(stale_at) > now then
    for _, field in ipairs({ token, mode, waiting_there, label }) do waiting[#waiting + 1] = field end
  end
end
return { lock.kind or '', held, waiting, lock.limit or '' }
