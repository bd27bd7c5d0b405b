/** Mistakes planted in the Lua scripts, which the simulator must find: a checker that finds none of them checks nothing. */
import { createHash } from "node:crypto";
import * as scripts from "../../src/schemes/lua/scripts.generated.ts";

/** What the right text is replaced by, in all scripts that have it. */
interface Mistake {
  readonly right: string;
  readonly wrong: string;
}

export const MISTAKES = {
  "fences that fall": { right: "last < micros and micros or last + 1", wrong: "last - 1" },
  "a newcomer overtakes the queue": { right: "if not queued and compatible", wrong: "if compatible" },
  "permits are not counted": { right: "lock.used + permits <= tonumber(limit)", wrong: "true" },
  "shared beside exclusive": { right: "(lock.kind == 'shared' and mode == 'shared')", wrong: "mode == 'shared'" },
  "a release that lets nobody in": { right: "promote(lock, nil, nil, moved)", wrong: "" },
  "a dead waiter is never passed over": {
    right: "if tonumber(stale_at) <= now then return false end",
    wrong: "now = 0",
  },
  "a lease that is not lengthened": {
    right: "digits(max(ttl, call('PTTL', lock.key)))",
    wrong: "call('PTTL', lock.key)",
  },
} satisfies Record<string, Mistake>;

export type MistakeName = keyof typeof MISTAKES;

/** Makes the mistake for the rest of this process's life. @returns how many scripts have it */
export function plant(name: string): number {
  const mistake = (MISTAKES as Record<string, Mistake>)[name];
  if (!mistake) throw new RangeError(`Expected one of: ${Object.keys(MISTAKES).join("; ")}. Got ${name}.`);
  let count = 0;
  for (const script of Object.values(scripts) as { source: string; sha: string }[]) {
    if (!script.source.includes(mistake.right)) continue;
    script.source = script.source.replaceAll(mistake.right, () => mistake.wrong);
    script.sha = createHash("sha1").update(script.source).digest("hex");
    count++;
  }
  return count;
}
