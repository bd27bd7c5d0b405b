-- Vote for those who want locks that are free and that nobody waits for, exclusively: the common case, kept short.
-- KEYS node | key, counter, queue
-- ARGV mark, ttl, fences | token, proposal
-- RETURNS the last fence of the vote | -(1 + the highest number that the node has seen), for it votes for another
-- QUICK

local known = call('HMGET', node, 'mark', 'high', 'floor')
if known[1] ~= mark then return { err = 'FORGOT' } end
local high, least = tonumber(known[2]) or 0, tonumber(known[3]) or 0
local was_high, more = high, fences - 1
local life = math.max(300000, ttl + 60000)
local life_text = format('%.0f', life)
for i = 1, count do
  local reply
  if call('EXISTS', queue[i]) == 0 then
    local before = tonumber(call('GET', counter[i])) or 0
    local fence = math.max(tonumber(proposal[i]), before + 1, least + 1, before == 0 and high + 1 or 0)
    local last = format('%.0f', fence + more)
    local value = token[i] .. '#' .. format('%.0f', fence) .. '#' .. last .. '#' .. format('%.0f', before) .. '#'
    if call('SET', key[i], value, 'PX', ttl, 'NX') then
      local left = before > 0 and call('PTTL', counter[i]) or 0
      call('SET', counter[i], last, 'PX', left > life and left or life_text)
      reply = fence + more
      if reply > high then high = reply end
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
if high > was_high then call('HSET', node, 'high', format('%.0f', high)) end
