-- One node's vote on who holds a lock of the redlock scheme: asked again by the same token, the same vote.
-- KEYS | key, counter, waiters
-- ARGV client, ttl, wait, force | number, proposal
-- RETURNS fence granted | {milliseconds left or -1, holder} held | -micros proposal too far ahead of this clock | {fence, victim} by force
-- QUICK

local clock = call('TIME')
local micros = clock[1] * 1000000 + clock[2]
-- A wild clock of one client must not carry all later fences away: so far ahead of ours a proposal may be.
local highest = micros + 10000000
-- A counter lives five minutes longer than the lease: longer than clocks differ, so that the time it starts from anew
-- is beyond what it was.
local life = ttl + 300000
local life_text = format('%.0f', life)
local forced = force == '1'

local counters = {}
for i = 1, count do counters[i] = counter[i] end
local lasts = call('MGET', unpack(counters))

for i = 1, count do
  local key, counter, waiters, number, proposal = key[i], counter[i], waiters[i], number[i], proposal[i]
  local reply
  local fence = tonumber(proposal)
  if fence > highest then
    reply = -micros
  else
    local token = client .. ':' .. number
    local taken = not forced and call('SET', key, token, 'PX', ttl, 'NX')
    local holder = not taken and pcall_redis('GET', key)
    if type(holder) == 'table' then
      reply = { 'ERR', holder.err }
    elseif holder and holder ~= token and not forced then
      reply = { call('PTTL', key), holder }
      if wait == '1' then
        pcall_redis('SADD', waiters, client)
        call('PEXPIRE', waiters, 15000)
      end
    else
      if holder ~= token and not taken then
        call('SET', key, token, 'PX', ttl)
      elseif holder and call('PTTL', key) < tonumber(ttl) then
        call('PEXPIRE', key, ttl)
      end
      -- Of another item before this one there may be a newer one.
      local last = tonumber(taken and lasts[i] or call('GET', counter))
      local least, kept = micros, life_text
      if last then
        least = holder == token and last or last + 1
        local left = call('PTTL', counter)
        if left > life then kept = left end
      end
      if fence < least then
        fence = least
        proposal = format('%.0f', fence)
      end
      call('SET', counter, proposal, 'PX', kept)
      reply = forced and { fence, holder ~= token and holder or '' } or fence
    end
  end
  replies[i] = reply
end
