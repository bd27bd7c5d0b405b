// Generated from ./scripts by scripts/generate-lua.ts. Do not edit.
import type { Script } from "../drivers/driver.ts";

/** Carry out one command on each key, unless a later holder has written there already. Answers each item with {1, the command's reply} done | {0, latest fence} refused | {2, its error} the command failed. */
export const guard: Script<
  { call: []; item: [key: string, guard: string] },
  { call: []; item: [fence: string, token: string, lifetime: string, command: string] }
> = {
  name: "guard",
  sha: "c6516359f46a687019f72f3b5b56a623cc1b36f2",
  source:
    "local call, pcall_redis, replies = redis.call, redis.pcall, {}\nlocal count = (#KEYS - 0) / 2\nlocal format = string.format\nfor i = 1, count do\nlocal guarded = call('GET', KEYS[2 * i]) or ''\nlocal latest, owner = string.match(guarded, '^(%d+) (.*)$')\nif latest and (tonumber(latest) > tonumber(ARGV[4 * i - 3]) or (latest == ARGV[4 * i - 3] and owner ~= ARGV[4 * i - 2])) then\nreplies[i] = { 0, latest }\nelse\nlocal command, words, at = ARGV[4 * i], {}, 1\nwhile at <= #command do\nlocal length, start = string.match(command, '^(%d+):()', at)\nat = start + length\nwords[#words + 1] = string.sub(command, start, at - 1)\nend\ncall('SET', KEYS[2 * i], ARGV[4 * i - 3] .. ' ' .. ARGV[4 * i - 2], 'PX', ARGV[4 * i - 1])\nlocal reply = pcall_redis(words[1], KEYS[2 * i - 1], unpack(words, 2))\nif type(reply) == 'table' and reply.err then\ncall('SET', KEYS[2 * i], latest and guarded or '0 ', 'PX', latest and ARGV[4 * i - 1] or 1)\nreplies[i] = { 2, reply.err }\nelse\nreplies[i] = { 1, reply }\nend\nend\nend\nreturn replies",
};
