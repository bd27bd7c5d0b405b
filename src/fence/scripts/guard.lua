-- Carry out one command on each key, unless a later holder has written there already.
-- KEYS | key, guard
-- ARGV | fence, token, lifetime, command
-- RETURNS {1, the command's reply} done | {0, latest fence} refused
-- QUICK

for i = 1, count do
  local latest, owner = string.match(call('GET', guard[i]) or '', '^(%d+) (.*)$')
  if latest and (tonumber(latest) > tonumber(fence[i]) or (latest == fence[i] and owner ~= token[i])) then
    replies[i] = { 0, latest }
  else
    call('SET', guard[i], fence[i] .. ' ' .. token[i], 'PX', lifetime[i])
    -- Each word behind its length in bytes: not every server has a JSON library for scripts.
    local command, words, at = command[i], {}, 1
    while at <= #command do
      local length, start = string.match(command, '^(%d+):()', at)
      at = start + length
      words[#words + 1] = string.sub(command, start, at - 1)
    end
    replies[i] = { 1, call(words[1], key[i], unpack(words, 2)) }
  end
end
