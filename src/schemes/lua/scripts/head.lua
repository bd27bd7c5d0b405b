-- What even a quick script needs.

local format = string.format

-- The counter outlives the locks so that fences keep growing while clocks are corrected; the time floor does the rest.
local FENCE_TTL = 3600000

-- The server's microseconds since 1970.
local function read_clock()
  local clock = call('TIME')
  return clock[1] * 1000000 + clock[2]
end

local micros
local next_fence, last_fence = 1, 0

-- The first of `wanted` fences in a row. max(last + 1, now in microseconds): grows also when the counter was lost. All
-- locks of a prefix share one counter, and a call draws for all its items (`count`) at once. Where the server can (6.2; the version is known from 7.0), the likely
-- value is written while the last one is read. Lua's own conversion of numbers would write 1.7e15.
local function draw_fence(wanted)
  if next_fence + wanted - 1 > last_fence then
    micros = micros or read_clock()
    local most = count * wanted
    next_fence, last_fence = micros, micros + most
    local last
    if redis.REDIS_VERSION_NUM then
      last = call('SET', counter, format('%.0f', last_fence), 'PX', FENCE_TTL, 'GET')
    else
      last = call('GET', counter)
      call('SET', counter, format('%.0f', last_fence), 'PX', FENCE_TTL)
    end
    last = tonumber(last) or 0
    if last >= micros then
      next_fence, last_fence = last + 1, last + most
      call('SET', counter, format('%.0f', last_fence), 'PX', FENCE_TTL)
    end
  end
  local fence = format('%.0f', next_fence)
  next_fence = next_fence + wanted
  return fence
end
