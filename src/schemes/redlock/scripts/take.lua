-- Vote for those who want locks that are free and that nobody waits for, exclusively: the common case, kept short.
-- KEYS node | key, counter, queue
-- ARGV mark, ttl, fences | token, proposal
-- RETURNS the last fence of the vote | -(1 + the highest number that the node has seen), for it votes for another
-- QUICK

local known = call('HMGET', node, 'mark', 'high', 'floor')
if known[1] ~= mark then return { err = 'FORGOT' } end
local high, least = tonumber(known[2]) or 0, tonumber(known[3]) or 0
local more = fences - 1
local life = math.max(300000, ttl + 60000)
local life_text = format('%.0f', life)
local highest
local queues, counters = {}, {}
for i = 1, count do queues[i], counters[i] = queue[i], counter[i] end
local nobody_waits = call('EXISTS', unpack(queues)) == 0
local counts = call('MGET', unpack(counters))
for i = 1, count do
  local reply
  if nobody_waits or call('EXISTS', queue[i]) == 0 then
    local before = counts[i]
    local drawn = tonumber(before)
    if not drawn then before, drawn = '0', 0 end
    -- A number of 16 digits is dear to write: mostly the proposal is the fence and the answer, as it stands.
    local first, fence = proposal[i], tonumber(proposal[i])
    if fence <= drawn or fence <= least or (drawn == 0 and fence <= high) then
      fence = math.max(drawn, least, drawn == 0 and high or 0) + 1
      first = format('%.0f', fence)
    end
    local last = more == 0 and first or format('%.0f', fence + more)
    if call('SET', key[i], token[i] .. '#' .. first .. '#' .. last .. '#' .. before .. '#', 'PX', ttl, 'NX') then
      local left = drawn > 0 and call('PTTL', counter[i]) or 0
      call('SET', counter[i], last, 'PX', left > life and left or life_text)
      reply, fence = last, fence + more
      if fence > high then high, highest = fence, last end
    end
  end
  if not reply then
    -- Asked for the second time, after a failure or by a client that was disconnected?
    local value = pcall_redis('GET', key[i])
    local holder, last = string.match(type(value) == 'string' and value or '', '^([^#]+)#%d+#(%d+)#')
    local is_ours = holder == token[i]
    if is_ours and call('PTTL', key[i]) < tonumber(ttl) then call('PEXPIRE', key[i], ttl) end
    reply = is_ours and tonumber(last) or -1 - high
  end
  replies[i] = reply
end
if highest then call('HSET', node, 'high', highest) end
