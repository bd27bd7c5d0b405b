// Generated from ./scripts by scripts/generate-lua.ts. Do not edit.
import type { Script } from "../../drivers/driver.ts";

/** Take a holder's key away on one node, and tell the managers that wait there if they are to know. A manager of which nobody waits any more (client) need not be told henceforth. Answers each item with 1 dropped | 0 it did not hold. */
export const drop: Script<
  { call: []; item: [key: string, waiters: string] },
  { call: [channel: string, tell: string, client: string]; item: [holder: string] }
> = {
  name: "drop",
  sha: "fbead89433f21ede9578ac5e81c2c339676c67cc",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal channel = ARGV[1]\nlocal tell = ARGV[2]\nlocal client = ARGV[3]\nlocal count = (#KEYS - 0) / 2\nlocal format = string.format\nlocal keys, held, told = {}, {}, {}\nfor i = 1, count do keys[i] = KEYS[2 * i - 1] end\nlocal holders = call('MGET', unpack(keys))\nfor i = 1, count do\nreplies[i] = 0\nif holders[i] == ARGV[i + 3] then\nreplies[i] = 1\nheld[#held + 1] = keys[i]\ntold[#told + 1] = KEYS[2 * i]\nend\nend\nif #held > 0 then\ncall('DEL', unpack(held))\nif tell == '1' and call('EXISTS', unpack(told)) > 0 then\nfor i, waiters in ipairs(told) do\nlocal clients = call('SMEMBERS', waiters)\nif #clients > 0 then call('DEL', waiters) end\nfor _, each in ipairs(clients) do\npcall_redis('PUBLISH', channel .. each, 'freed ' .. #clients .. ' - ' .. held[i])\nend\nend\nend\nend\nif client ~= '' then\nfor i = 1, count do\npcall_redis('SREM', KEYS[2 * i], client)\nend\nend\nreturn replies",
};

/** Take the lock on one node from exactly this holder, and tell the managers that wait there. Where it holds and where it does not, the node's fence is beyond the holder's from now on: no renewal puts the key back. Answers each item with 1 dropped | 0 it did not hold | -micros fence too far ahead of this clock. */
export const evict: Script<
  { call: []; item: [key: string, counter: string, waiters: string] },
  { call: [channel: string]; item: [holder: string, fence: string, life: string] }
> = {
  name: "evict",
  sha: "aed6744eae5ad574f48ba33a77a303670c39dbcd",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal channel = ARGV[1]\nlocal count = (#KEYS - 0) / 3\nlocal format = string.format\nfor i = 1, count do\nlocal key, counter, waiters, holder, fence, life = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]\nlocal reply = 0\nlocal beyond = tonumber(fence) + 1\nlocal clock = call('TIME')\nlocal micros = clock[1] * 1000000 + clock[2]\nif beyond > micros + 10000000 then\nreply = -micros\nelse\nif beyond > 1 and (tonumber(call('GET', counter)) or 0) < beyond then\ncall('SET', counter, format('%.0f', beyond), 'PX', math.max(call('PTTL', counter), tonumber(life)))\nend\nif pcall_redis('GET', key) == holder then\nreply = call('DEL', key)\nlocal clients = call('SMEMBERS', waiters)\nif #clients > 0 then call('DEL', waiters) end\nfor _, each in ipairs(clients) do\npcall_redis('PUBLISH', channel .. each, 'freed ' .. #clients .. ' - ' .. key)\nend\nend\nend\nreplies[i] = reply\nend\nreturn replies",
};

/** Tell who holds on one node. Writes nothing. Answers each item with {holder or "", milliseconds left or -1, fence or ""}. */
export const look: Script<{ call: []; item: [key: string, counter: string] }, { call: []; item: [] }> = {
  name: "look",
  sha: "29ca41568c4b829e06787c9ded17062e0130f57f",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal count = (#KEYS - 0) / 2\nlocal format = string.format\nfor i = 1, count do\nlocal key, counter = KEYS[2 * i - 1], KEYS[2 * i]\nlocal reply = 0\nlocal holder = pcall_redis('GET', key)\nif type(holder) == 'table' then\nreply = { 'ERR', holder.err }\nelse\nreply = { holder or '', call('PTTL', key), call('GET', counter) or '' }\nend\nreplies[i] = reply\nend\nreturn replies",
};

/** Raise a node's fence to the highest of the votes, where the lock is still the voter's. Answers each item with 1 raised | 0 somebody else's by now, or nobody's | -micros too far ahead of this clock. */
export const raise: Script<
  { call: []; item: [key: string, counter: string] },
  { call: []; item: [token: string, fence: string] }
> = {
  name: "raise",
  sha: "9015e4ea0c63c37747e41deaa076d8de8129234d",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal count = (#KEYS - 0) / 2\nlocal format = string.format\nfor i = 1, count do\nlocal key, counter, token, fence = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i - 1], ARGV[2 * i]\nlocal reply = 0\nlocal clock = call('TIME')\nlocal micros = clock[1] * 1000000 + clock[2]\nif pcall_redis('GET', key) == token then\nif tonumber(fence) > micros + 10000000 then\nreply = -micros\nelse\nlocal last = tonumber(call('GET', counter)) or 0\nlocal life = math.max(call('PTTL', counter), call('PTTL', key) + 300000)\nif last < tonumber(fence) then call('SET', counter, fence, 'PX', string.format('%.0f', life)) end\nreply = 1\nend\nend\nreplies[i] = reply\nend\nreturn replies",
};

/** Lengthen a lease on one node, putting the key back if the node lost it: but only if no grant has been made there since, that is, the node's fence is not beyond the holder's. A vote that came late may have drawn one; then the key is there again and yet counts no more. Answers each item with 1 extended | 2 put back | 0 lost, and granted since | -1 somebody else's. */
export const renew: Script<
  { call: []; item: [key: string, counter: string] },
  { call: []; item: [token: string, fence: string, ttl: string] }
> = {
  name: "renew",
  sha: "ceac58c8efa9993c41af0ba14dda88ec495e5107",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal count = (#KEYS - 0) / 2\nlocal format = string.format\nfor i = 1, count do\nlocal key, counter, token, fence, ttl = KEYS[2 * i - 1], KEYS[2 * i], ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]\nlocal reply = 0\nlocal holder = pcall_redis('GET', key)\nlocal last = tonumber(call('GET', counter)) or 0\nlocal life = math.max(call('PTTL', counter), ttl + 300000)\nif holder and holder ~= token then\nreply = -1\nelseif last > tonumber(fence) then\nreply = 0\nelse\nif not holder then\ncall('SET', key, token, 'PX', ttl)\nelseif call('PTTL', key) < tonumber(ttl) then\ncall('PEXPIRE', key, ttl)\nend\ncall('SET', counter, fence, 'PX', string.format('%.0f', life))\nreply = holder and 1 or 2\nend\nreplies[i] = reply\nend\nreturn replies",
};

/** One node's vote on who holds a lock of the redlock scheme: asked again by the same token, the same vote. Answers each item with fence granted | {milliseconds left or -1, holder} held | -micros proposal too far ahead of this clock | {fence, victim} by force. */
export const vote: Script<
  { call: []; item: [key: string, counter: string, waiters: string] },
  { call: [client: string, ttl: string, wait: string, force: string]; item: [number: string, proposal: string] }
> = {
  name: "vote",
  sha: "99109924ddf81f5853e4fa540fa5e2ddd280bfeb",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal client = ARGV[1]\nlocal ttl = ARGV[2]\nlocal wait = ARGV[3]\nlocal force = ARGV[4]\nlocal count = (#KEYS - 0) / 3\nlocal format = string.format\nlocal clock = call('TIME')\nlocal micros = clock[1] * 1000000 + clock[2]\nlocal highest = micros + 10000000\nlocal life = ttl + 300000\nlocal life_text = format('%.0f', life)\nlocal forced = force == '1'\nlocal counters = {}\nfor i = 1, count do counters[i] = KEYS[3 * i - 1] end\nlocal lasts = call('MGET', unpack(counters))\nfor i = 1, count do\nlocal key, counter, waiters, number, proposal = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], ARGV[2 * i + 3], ARGV[2 * i + 4]\nlocal reply\nlocal fence = tonumber(proposal)\nif fence > highest then\nreply = -micros\nelse\nlocal token = client .. ':' .. number\nlocal taken = not forced and call('SET', key, token, 'PX', ttl, 'NX')\nlocal holder = not taken and pcall_redis('GET', key)\nif type(holder) == 'table' then\nreply = { 'ERR', holder.err }\nelseif holder and holder ~= token and not forced then\nreply = { call('PTTL', key), holder }\nif wait == '1' then\npcall_redis('SADD', waiters, client)\ncall('PEXPIRE', waiters, 15000)\nend\nelse\nif holder ~= token and not taken then\ncall('SET', key, token, 'PX', ttl)\nelseif holder and call('PTTL', key) < tonumber(ttl) then\ncall('PEXPIRE', key, ttl)\nend\nlocal last = tonumber(taken and lasts[i] or call('GET', counter))\nlocal least, kept = micros, life_text\nif last then\nleast = holder == token and last or last + 1\nlocal left = call('PTTL', counter)\nif left > life then kept = left end\nend\nif fence < least then\nfence = least\nproposal = format('%.0f', fence)\nend\ncall('SET', counter, proposal, 'PX', kept)\nreply = forced and { fence, holder ~= token and holder or '' } or fence\nend\nend\nreplies[i] = reply\nend\nreturn replies",
};
