-- What the last holder left for those who waited for the lock. Writes nothing.
-- KEYS | value
-- ARGV |
-- RETURNS {what is there or '', milliseconds until it goes}
-- QUICK

for i = 1, count do
  local found = call('GET', value[i])
  replies[i] = { found or '', found and call('PTTL', value[i]) or 0 }
end
