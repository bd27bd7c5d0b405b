-- What even the quickest script needs. Nothing else is defined before the quick paths, for defining costs time too.

local call, pcall_redis = redis.call, redis.pcall
local format = string.format

-- The counter outlives the lock so that fences keep growing while clocks are corrected; the time floor does the rest.
local FENCE_TTL = 3600000

-- The server's microseconds since 1970, read when first needed.
local micros
local function read_clock()
  local clock = call('TIME')
  return clock[1] * 1000000 + clock[2]
end

-- Lua's own conversion would write 1.7e15.
local function digits(number) return format('%.0f', number) end

-- max(last + 1, now in microseconds): grows also when the counter was lost. Writes the likely value while it reads
-- the last one where the server can (6.2; the version number is known from 7.0).
local function draw_fence(counter)
  local fence, last = digits(micros), nil
  if redis.REDIS_VERSION_NUM then
    last = call('SET', counter, fence, 'PX', FENCE_TTL, 'GET')
    if not last or tonumber(last) < micros then return fence end
  else
    last = call('GET', counter)
  end
  if last and tonumber(last) >= micros then fence = digits(last + 1) end
  call('SET', counter, fence, 'PX', FENCE_TTL)
  return fence
end
