-- Carry out one command on each key, unless a later holder has written there already.
-- KEYS | key, guard
-- ARGV | fence, token, lifetime, command
-- RETURNS {1, the command's reply} done | {0, latest fence} refused | {2, its error} the command failed
-- QUICK

for i = 1, count do
  local guarded = call('GET', guard[i]) or ''
  local latest, owner = string.match(guarded, '^(%d+) (.*)$')
  if latest and (tonumber(latest) > tonumber(fence[i]) or (latest == fence[i] and owner ~= token[i])) then
    replies[i] = { 0, latest }
  else
    -- Each word behind its length in bytes: not every server has a JSON library for scripts.
    local command, words, at = command[i], {}, 1
    while at <= #command do
      local length, start = string.match(command, '^(%d+):()', at)
      at = start + length
      words[#words + 1] = string.sub(command, start, at - 1)
    end
    -- The fence moves before the command, and back if that fails. In the other order an account that may do the command
    -- but not SET would write, and leave no trace of it.
    call('SET', guard[i], fence[i] .. ' ' .. token[i], 'PX', lifetime[i])
    local reply = pcall_redis(words[1], key[i], unpack(words, 2))
    if type(reply) == 'table' and reply.err then
      -- No fence is smaller than zero; it needs no right to delete.
      call('SET', guard[i], latest and guarded or '0 ', 'PX', latest and lifetime[i] or 1)
      replies[i] = { 2, reply.err }
    else
      replies[i] = { 1, reply }
    end
  end
end
