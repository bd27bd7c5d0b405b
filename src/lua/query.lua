-- Tell who holds and who waits. Writes nothing.
-- KEYS | key, holders, queue, waiters
-- ARGV |
-- RETURNS {kind, {token, fence, milliseconds left, label, …}, {token, mode, how many wait there, label, …}}

read(lock)
local held, waiting = {}, {}
if lock.kind == 'exclusive' then
  local label = match(call('GET', lock.key), '^[^#]*#%d+#(.*)$') or ''
  held = { lock.token, lock.fence, call('PTTL', lock.key), label }
elseif lock.kind == 'foreign' then
  held = { call('GET', lock.key), '', call('PTTL', lock.key), '' }
elseif lock.kind == 'shared' then
  local live = call('ZRANGEBYSCORE', lock.key, '(' .. digits(now), '+inf', 'WITHSCORES')
  for i = 1, #live, 2 do
    local fence, label = match(call('HGET', lock.holders, live[i]) or '', '^(%d*) ?(.*)$')
    for _, field in ipairs({ live[i], fence or '', live[i + 1] - now, label or '' }) do held[#held + 1] = field end
  end
  if #live == 0 then lock.kind = nil end
end

for _, token in ipairs(call('ZRANGE', lock.queue, 0, -1)) do
  local mode, _, stale_at, _, waiting_there, _, _, label = match(call('HGET', lock.waiters, token) or '', RECORD)
  if mode and tonumber(stale_at) > now then
    for _, field in ipairs({ token, mode, waiting_there, label }) do waiting[#waiting + 1] = field end
  end
end
return { lock.kind or '', held, waiting }
