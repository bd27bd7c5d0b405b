/** Keys that look like locks and never expire: another program holds those locks forever. */
import type { Clock } from "../../clock.ts";
import type { Send } from "../../drivers/driver.ts";
import { nameOfKey, scanPattern } from "../../schemes/keys.ts";

export interface Eternal {
  readonly count: number;
  /** The names of a few of these locks. */
  readonly samples: readonly string[];
  /** Whether all keys of the prefix were examined. */
  readonly isComplete: boolean;
}

const MOST_SAMPLES = 3;
/** A server with millions of keys is not walked to the end. In milliseconds. */
const LONGEST_LOOK = 3_000;

/** @returns undefined if the server does not let us look */
export async function findEternal(send: Send, prefix: string, clock: Clock): Promise<Eternal | undefined> {
  const end = clock.now() + LONGEST_LOOK;
  const found = new Set<string>();
  let cursor = "0";
  try {
    do {
      const [next, keys] = (await send([
        "SCAN",
        cursor,
        "MATCH",
        scanPattern(prefix),
        "COUNT",
        "1000",
        "TYPE",
        "string",
      ])) as [unknown, unknown[]];
      cursor = String(next);
      // Under "" there are keys of all kinds, which nobody meant as locks.
      const locks = keys.map(String).filter((key) => prefix !== "" && nameOfKey(prefix, key) !== undefined);
      const ttls = await Promise.all(locks.map((key) => send(["PTTL", key], key)));
      locks.forEach((key, i) => Number(ttls[i]) === -1 && found.add(nameOfKey(prefix, key) as string));
    } while (cursor !== "0" && clock.now() < end);
  } catch {
    return undefined;
  }
  return { count: found.size, samples: [...found].slice(0, MOST_SAMPLES), isComplete: cursor === "0" };
}
