-- Carry out one command on a key, unless a later holder has written there already.
-- KEYS | key, guard
-- ARGV | fence, token, lifetime, command
-- RETURNS {1, the command's reply} done | {0, latest fence} refused
-- QUICK

local latest, owner = string.match(call('GET', guard) or '', '^(%d+) (.*)$')
if latest and (tonumber(latest) > tonumber(fence) or (latest == fence and owner ~= token)) then
  reply = { 0, latest }
else
  call('SET', guard, fence .. ' ' .. token, 'PX', lifetime)
  -- Each word behind its length in bytes: not every server has a JSON library for scripts.
  local words, at = {}, 1
  while at <= #command do
    local length, start = string.match(command, '^(%d+):()', at)
    at = start + length
    words[#words + 1] = string.sub(command, start, at - 1)
  end
  reply = { 1, call(words[1], key, unpack(words, 2)) }
end
