import { randomBytes } from "node:crypto";

export const compareAndDelete =
  'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0';

const client = randomBytes(16).toString("hex");
let count = 0;

export function nextToken(): string {
  return `${client}:${++count}`;
}

/** The floors cannot wait, so whoever asks for a lock that is taken has chosen the wrong contender. */
export function mustBeOk(reply: unknown): void {
  if (reply !== "OK") throw new Error(`Expected OK; got ${String(reply)}.`);
}
