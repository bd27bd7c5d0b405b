/** Scripts on redis-semaphore's keys and values, so that both count and exclude one another's holders. */
import { plainScript } from "../member.ts";
import type { PlainScript } from "../member.ts";

export interface Scripts {
  readonly acquire: PlainScript;
  readonly refresh: PlainScript;
  readonly release: PlainScript;
}

/** Notifies waiters. An account may lack the right to, and Redis before 7 SPUBLISH: then waiters find out by themselves. */
const TELL = `
local function tell(publish, channel)
  if publish == "SPUBLISH" and not redis.REDIS_VERSION_NUM then publish = "PUBLISH" end
  redis.pcall(publish, channel, "freed")
end
`;

/** KEYS key. ARGV publish, channel, milliseconds, identifier. */
export const MUTEX: Scripts = {
  acquire: plainScript("mutex-acquire", `return redis.call("set", KEYS[1], ARGV[4], "PX", ARGV[3], "NX") and 1 or 0`),
  refresh: plainScript(
    "mutex-refresh",
    `if redis.call("get", KEYS[1]) ~= ARGV[4] then return 0 end
return redis.call("pexpire", KEYS[1], ARGV[3])`,
  ),
  release: plainScript(
    "mutex-release",
    `${TELL}
if redis.call("get", KEYS[1]) ~= ARGV[4] then return 0 end
redis.call("del", KEYS[1])
tell(ARGV[1], ARGV[2])
return 1`,
  ),
};

/**
 * KEYS set, ends. ARGV publish, channel, milliseconds, limit, members. The set is redis-semaphore's: member → when it came
 * or was refreshed. Beside it stands when each of our members ends, because others' lockTimeout is not ours. Time is the
 * server's. A member is removed no sooner than redis-semaphore would remove it, and no sooner than it ends by its own
 * time.
 */
const SEMAPHORE_HEAD = `
local set, ends = KEYS[1], KEYS[2]
local ttl, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call("time")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function purge()
  local all = redis.call("zrange", set, 0, -1, "WITHSCORES")
  for i = 1, #all, 2 do
    local own = tonumber(redis.call("hget", ends, all[i])) or 0
    if math.max(own, tonumber(all[i + 1]) + ttl) <= now then
      redis.call("zrem", set, all[i])
      redis.call("hdel", ends, all[i])
    end
  end
end

local function put()
  for i = 5, #ARGV do
    redis.call("zadd", set, now, ARGV[i])
    redis.call("hset", ends, ARGV[i], string.format("%.0f", now + ttl))
  end
  for _, key in ipairs({ set, ends }) do
    if redis.call("pttl", key) < ttl then redis.call("pexpire", key, ttl) end
  end
  return 1
end
`;

export const SEMAPHORE: Scripts = {
  acquire: plainScript(
    "semaphore-acquire",
    `${SEMAPHORE_HEAD}
purge()
if redis.call("zscore", set, ARGV[5]) then return 0 end
if redis.call("zcard", set) + #ARGV - 4 > limit then return 0 end
return put()`,
  ),
  refresh: plainScript(
    "semaphore-refresh",
    `${SEMAPHORE_HEAD}
purge()
if not redis.call("zscore", set, ARGV[5]) then return 0 end
return put()`,
  ),
  release: plainScript(
    "semaphore-release",
    `${TELL}
local count = 0
for i = 5, #ARGV do
  count = count + redis.call("zrem", KEYS[1], ARGV[i])
  redis.call("hdel", KEYS[2], ARGV[i])
end
if count == 0 then return 0 end
tell(ARGV[1], ARGV[2])
return 1`,
  ),
};
