// Generated from ./scripts by scripts/generate-lua.ts. Do not edit.
import type { Script } from "../drivers/driver.ts";

/** Carry out one command on each key, unless a later holder has written there already. Answers each item with {1, the command's reply} done | {0, latest fence} refused. */
export const guard: Script<
  { call: []; item: [key: string, guard: string] },
  { call: []; item: [fence: string, token: string, lifetime: string, command: string] }
> = {
  name: "guard",
  sha: "9572b4204f5a7206dc01b3d16f38517b0c4d60d4",
  source:
    "local call, pcall_redis = redis.call, redis.pcall\nlocal replies, done, count = {}, 0, (#KEYS - 0) / 2\nlocal format = string.format\nfor i = 1, count do\nlocal latest, owner = string.match(call('GET', KEYS[2 * i]) or '', '^(%d+) (.*)$')\nif latest and (tonumber(latest) > tonumber(ARGV[4 * i - 3]) or (latest == ARGV[4 * i - 3] and owner ~= ARGV[4 * i - 2])) then\nreplies[i] = { 0, latest }\nelse\ncall('SET', KEYS[2 * i], ARGV[4 * i - 3] .. ' ' .. ARGV[4 * i - 2], 'PX', ARGV[4 * i - 1])\nlocal command, words, at = ARGV[4 * i], {}, 1\nwhile at <= #command do\nlocal length, start = string.match(command, '^(%d+):()', at)\nat = start + length\nwords[#words + 1] = string.sub(command, start, at - 1)\nend\nreplies[i] = { 1, call(words[1], KEYS[2 * i - 1], unpack(words, 2)) }\nend\nend\nreturn replies",
};
