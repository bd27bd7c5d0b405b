-- What even a quick script needs.

local format = string.format

-- The counter outlives the locks so that fences keep growing while clocks are corrected; the time floor does the rest.
local FENCE_TTL = '3600000'

-- The server's microseconds since 1970.
local function read_clock()
  local clock = call('TIME')
  return clock[1] * 1000000 + clock[2]
end

local micros
-- The last fence that was drawn in this call; written when the call ends.
local drawn

-- The first of `wanted` fences in a row: max(last + 1, now in microseconds), which grows also when the counter was lost.
-- All locks of a prefix share one counter. Lua's own conversion of numbers would write 1.7e15.
local function draw_fence(wanted)
  micros = micros or read_clock()
  local last = drawn or tonumber(call('GET', counter) or 0)
  local fence = last < micros and micros or last + 1
  drawn = fence + wanted - 1
  return format('%.0f', fence)
end
