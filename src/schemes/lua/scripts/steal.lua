-- Take a lock by force: from exactly the expected holder, or from everybody if `everybody` is 1.
-- With a token the thief holds it then, exclusively; with "" the next in line is let through.
-- KEYS counter | key, holders, queue, waiters
-- ARGV publish, channel | token, ttl, label, expected, everybody
-- RETURNS {1, fence or '', {victim, its fence, …}} taken away | {1, fence} since before | {0} the expected holder no longer holds | {'mismatch', limit}

load(lock)
if token ~= '' then
  -- A repeated call must not rob anybody.
  local fence = holding(lock, token)
  if fence then
    lengthen(lock, token, ttl)
    return { 1, fence }
  end
  local other = mismatch(lock, 'exclusive')
  if other then return other end
end

local all = everybody == '1'
local victims = {}
if lock.kind == 'shared' then
  for _, holder in ipairs(call('ZRANGE', lock.key, 0, -1)) do
    if all or expected == holder then victims[#victims + 1] = holder end
  end
elseif lock.kind == 'exclusive' then
  if all or expected == lock.token then victims[1] = lock.token end
elseif lock.kind == 'foreign' then
  if all or expected == call('GET', lock.key) then
    call('DEL', lock.key)
    lock.kind = nil
    all = true
  end
end
if not all and #victims == 0 then return { 0 } end

local lost = {}
for _, victim in ipairs(victims) do
  local fence = holding(lock, victim) or 0
  drop(lock, victim)
  tell(lock, victim, 'lost', fence)
  lost[#lost + 1], lost[#lost + 2] = victim, fence
end
if token ~= '' then return { 1, grant(lock, token, 'exclusive', ttl, 1, label), lost } end
promote(lock)
return { 1, '', lost }
