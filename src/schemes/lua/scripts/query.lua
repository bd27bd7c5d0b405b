-- Report who holds and who waits. Writes nothing.
-- KEYS | key, holders, queue, waiters
-- ARGV |
-- RETURNS {kind, {token, fence, milliseconds left, label, permits, milliseconds held, …}, {token, mode, how many wait there, label, milliseconds waited, …}, limit}

-- Milliseconds since a fence was drawn or a ticket was given: both are the server's microseconds of then, or a little more.
local function since(when) return when == '' and '' or max(0, floor((micros - when) / 1000)) end

read(lock)
local held, waiting = {}, {}
if lock.kind == 'exclusive' then
  held = { lock.token, lock.fence, call('PTTL', lock.key), lock.label, '', since(lock.fence) }
elseif lock.kind == 'foreign' then
  held = { call('GET', lock.key), '', call('PTTL', lock.key), '', '', '' }
elseif lock.kind == 'shared' then
  local live = call('ZRANGEBYSCORE', lock.key, '(' .. digits(now), '+inf', 'WITHSCORES')
  for i = 1, #live, 2 do
    local fence, permits, label = match(call('HGET', lock.holders, live[i]) or '', '^(%d*)/?(%d*) ?(.*)$')
    local row = { live[i], fence, live[i + 1] - now, label, permits, since(fence) }
    for _, field in ipairs(row) do held[#held + 1] = field end
  end
  if #live == 0 then lock.kind = nil end
end

local places = call('ZRANGE', lock.queue, 0, -1, 'WITHSCORES')
for i = 1, #places, 2 do
  local token = places[i]
  local mode, _, stale_at, _, waiting_there, _, _, label = match(call('HGET', lock.waiters, token) or '', RECORD)
  if mode and tonumber(stale_at) > now then
    local row = { token, mode, waiting_there, label, since(places[i + 1]) }
    for _, field in ipairs(row) do waiting[#waiting + 1] = field end
  end
end
return { lock.kind or '', held, waiting, lock.limit or '' }
