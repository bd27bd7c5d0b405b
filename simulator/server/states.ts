/** What a server really holds of a lock, read right behind each command, whatever its reply says. */
import type { Reply } from "./wire.ts";

export interface HolderRecord {
  readonly token: string;
  /** Undefined if the key does not say. */
  readonly fence: number | undefined;
  readonly permits: number;
  /** When it ends, in milliseconds by the server's clock; Infinity if never. */
  readonly expiry: number;
}

export interface LockRecord {
  readonly kind: "free" | "exclusive" | "foreign" | "shared";
  readonly limit: number | undefined;
  readonly holders: readonly HolderRecord[];
  /** Tokens in line, first to last, with their tickets. */
  readonly queue: readonly (readonly [token: string, ticket: number])[];
}

export const FREE: LockRecord = { kind: "free", limit: undefined, holders: [], queue: [] };

/** How many commands look at one lock. */
const LOOKS = 5;

/** @param keys its key, that of its holders, and that of its queue */
export function looksAt(keys: readonly string[]): string[][] {
  const [key = "", holders = "", queue = ""] = keys;
  return [
    ["GET", key],
    ["PTTL", key],
    ["ZRANGE", key, "0", "-1", "WITHSCORES"],
    ["HGETALL", holders],
    ["ZRANGE", queue, "0", "-1", "WITHSCORES"],
  ];
}

/** @param replies to the looks at one lock or more @param now the server's clock */
export function readRecords(replies: readonly Reply[], now: number): LockRecord[] {
  return Array.from({ length: replies.length / LOOKS }, (_, i) => readRecord(replies.slice(i * LOOKS), now));
}

const OURS = /^([\w-]{22}:\w+)(?:#(\d+))?/;

function readRecord([value, left, members, known, line]: readonly Reply[], now: number): LockRecord {
  const queue = pairs(line);
  if (typeof value === "string") {
    const [, token, fence] = OURS.exec(value) ?? [];
    const expiry = Number(left) < 0 ? Infinity : now + Number(left);
    const holder = {
      token: token ?? value,
      fence: fence === undefined ? undefined : Number(fence),
      permits: 1,
      expiry,
    };
    return { kind: token === undefined ? "foreign" : "exclusive", limit: undefined, holders: [holder], queue };
  }
  const about = new Map<string, string>();
  const flat = Array.isArray(known) ? known : [];
  for (let i = 0; i < flat.length; i += 2) about.set(String(flat[i]), String(flat[i + 1]));
  const limit = /\/(\d+)$/.exec(about.get("permits") ?? "")?.[1];
  const holders = pairs(members).flatMap(([token, expiry]) => {
    const [, fence, permits] = /^(\d+)(?:\/(\d+))?/.exec(about.get(token) ?? "") ?? [];
    if (expiry <= now) return [];
    return [{ token, fence: fence === undefined ? undefined : Number(fence), permits: Number(permits ?? 1), expiry }];
  });
  const kind = holders.length > 0 ? "shared" : "free";
  return { kind, limit: limit === undefined ? undefined : Number(limit), holders, queue };
}

function pairs(reply: Reply | undefined): (readonly [string, number])[] {
  if (!Array.isArray(reply)) return [];
  return reply.map((pair) => [String((pair as Reply[])[0]), Number((pair as Reply[])[1])] as const);
}
