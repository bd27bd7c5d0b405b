import { dictionary, show } from "../options/checks.ts";

/** What a guard compares: a lock, or what a holder passes on to others. */
export interface Fenced {
  readonly fence: number;
  readonly token: string;
}

/** @throws TypeError for anything that has no fence and token */
export function checkFenced(by: unknown): Fenced {
  const { fence, token } = dictionary(by, "the holder");
  if (typeof fence !== "number" || !Number.isSafeInteger(fence) || fence < 1) {
    throw new TypeError(`Expected the holder's fence to be a whole number, as a lock has it; got ${show(fence)}.`);
  }
  if (typeof token !== "string" || token === "") {
    throw new TypeError(`Expected the holder's token to be a string, as a lock has it; got ${show(token)}.`);
  }
  return { fence, token };
}

/** Lua passes on fewer than 8,000 values, and some servers use a few of these themselves. */
const MOST_ARGUMENTS = 7_900;

/**
 * The command without its key, all strings.
 *
 * @throws TypeError or RangeError
 */
export function checkRedisWrite(command: unknown, key: unknown, args: readonly unknown[]): string[] {
  if (typeof command !== "string") throw new TypeError(`Expected the command to be a string; got ${show(command)}.`);
  if (typeof key !== "string" || key === "") {
    throw new TypeError(`Expected the key to be a string that is not empty; got ${show(key)}.`);
  }
  const odd = args.find((each) => typeof each !== "string" && typeof each !== "number");
  if (odd !== undefined) throw new TypeError(`Expected arguments to be strings or numbers; got ${show(odd)}.`);
  if (args.length > MOST_ARGUMENTS) {
    throw new RangeError(
      `Expected at most ${MOST_ARGUMENTS} arguments for one guarded write; got ${args.length}. Write them in several calls.`,
    );
  }
  return [command, ...args.map(String)];
}
