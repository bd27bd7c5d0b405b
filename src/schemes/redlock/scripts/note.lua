-- What this node knows of another that was found not to remember: when that was, and when the last lease is over that the
-- other may have forgotten. It outlives the client that found it, and is kept for a month from the last look.
-- KEYS | node, note
-- ARGV | mark, left
-- RETURNS {milliseconds since it was found, milliseconds until its leases are over or -1} | 0 this node has another mark
-- QUICK

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 1, count do
  local reply = 0
  if call('HGET', node[i], 'mark') == mark[i] then
    local found, over = string.match(call('GET', note[i]) or '', '^(%d+) (%d*)$')
    found, over = found or format('%.0f', now), over or ''
    if over == '' and left[i] ~= '' then over = format('%.0f', now + left[i]) end
    call('SET', note[i], found .. ' ' .. over, 'PX', 2592000000)
    reply = { now - found, over == '' and -1 or math.max(0, over - now) }
  end
  replies[i] = reply
end
