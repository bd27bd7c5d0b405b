-- One node's vote on who holds a lock of the redlock scheme: asked again by the same token, the same vote.
-- KEYS | key, counter, waiters
-- ARGV | token, ttl, proposal, client, force
-- RETURNS fence granted | {milliseconds left or -1, holder} held | -micros proposal too far ahead of this clock | {fence, victim} by force
-- QUICK

for i = 1, count do
  local key, counter, waiters, token, ttl, proposal, client, force = key[i], counter[i], waiters[i], token[i], ttl[i], proposal[i], client[i], force[i]
  local reply = 0
  -- A wild clock of one client must not carry all later fences away: so far ahead of ours a proposal may be, in µs.
  local clock = call('TIME')
  local micros = clock[1] * 1000000 + clock[2]
  if tonumber(proposal) > micros + 10000000 then
    reply = -micros
  else
    local taken = force == '0' and call('SET', key, token, 'PX', ttl, 'NX')
    local holder = not taken and pcall_redis('GET', key)
    if type(holder) == 'table' then
      reply = { 'ERR', holder.err }
    elseif holder and holder ~= token and force == '0' then
      reply = { call('PTTL', key), holder }
      if client ~= '' then
        pcall_redis('SADD', waiters, client)
        call('PEXPIRE', waiters, 15000)
      end
    else
      if holder ~= token and not taken then
        call('SET', key, token, 'PX', ttl)
      elseif holder and call('PTTL', key) < tonumber(ttl) then
        call('PEXPIRE', key, ttl)
      end
      -- A counter lives five minutes longer than the lease: longer than clocks differ, so that the time it starts from
      -- anew is beyond what it was.
      local life = ttl + 300000
      local last = tonumber(call('GET', counter))
      local fence = math.max(proposal, last and (holder == token and last or last + 1) or micros)
      if last then life = math.max(life, call('PTTL', counter)) end
      call('SET', counter, string.format('%.0f', fence), 'PX', string.format('%.0f', life))
      reply = force == '0' and fence or { fence, holder ~= token and holder or '' }
    end
  end
  replies[i] = reply
end
