-- Name the absence of a node that does not remember: all who find it so use the same name, until it forgets that, too.
-- KEYS | node
-- ARGV | run, fresh
-- RETURNS the name, which begins with the run
-- QUICK

for i = 1, count do
  local name = call('HGET', node[i], 'absence')
  if not name or string.sub(name, 1, #run[i] + 1) ~= run[i] .. '-' then
    name = run[i] .. '-' .. fresh[i]
    call('HSET', node[i], 'absence', name)
  end
  replies[i] = name
end
