/** Values that nobody should pass, names that nobody should give, and what may come of them. */
import fc from "fast-check";
import { expect } from "vitest";
import { LockError } from "../../src/index.ts";

const times = Number(process.env["HOLDFAST_FUZZ"] ?? 1);

/**
 * How often a property is tried: as many times as `HOLDFAST_FUZZ` says more, with a seed that is new each time. A
 * failure prints its seed and path, which `HOLDFAST_FUZZ_SEED` takes.
 */
export function fuzzing<T>(runs: number): fc.Parameters<T> {
  const given = process.env["HOLDFAST_FUZZ_SEED"];
  const seed = given ? Number(given) : times > 1 ? Date.now() : 1;
  return { numRuns: Math.ceil(runs * times), seed, endOnFailure: times === 1 };
}

/** A property may take that long in all, in milliseconds. */
export const FUZZ_TIMEOUT = 20_000 + times * 20_000;

/** What a getter of a hostile object throws: it may come through, because it is the caller's own. */
export class Mine extends Error {
  override readonly name = "Mine";
}

/** Its name is no string. */
const Nameless = Object.defineProperty(() => {}, "name", { value: Symbol("no string") });

/** One of every kind of value that could be taken for what it is not. */
const ODD: readonly unknown[] = [
  undefined,
  null,
  NaN,
  Infinity,
  -Infinity,
  -0,
  0,
  -1,
  0.5,
  49,
  2 ** 31,
  Number.MAX_SAFE_INTEGER,
  2 ** 53,
  Number.MAX_VALUE,
  1n,
  true,
  false,
  "",
  "5s",
  "__proto__",
  "constructor",
  Symbol("a symbol"),
  Symbol.iterator,
  () => {},
  Nameless,
  class extends Map {},
  [],
  [[]],
  [undefined],
  [null, {}],
  {},
  Object.create(null),
  Object.freeze({}),
  { constructor: null },
  { constructor: { name: Object.create(null) as object } },
  { toString: null, valueOf: null },
  JSON.parse('{"__proto__": {"ttl": 1}, "ttl": "x"}'),
  new Date(NaN),
  new Map([["ttl", 1]]),
  new Set(["a"]),
  new WeakMap(),
  new Error("an error"),
  Promise.resolve(1),
  Buffer.from("a buffer"),
  new Uint8Array(3),
  new ArrayBuffer(2),
  /a pattern/,
  Object("boxed"),
  new Proxy({}, {}),
  new Proxy(() => {}, {}),
  globalThis,
];

const throwing = fc.constant({
  get ttl(): never {
    throw new Mine("a getter");
  },
  get mode(): never {
    throw new Mine("a getter");
  },
});

/** Control characters, terminal sequences, globs, braces, and what UTF-8 cannot carry. */
export const HOSTILE_NAMES: readonly string[] = [
  "a\r\nSET x y\r\n",
  "a\nb",
  "\u001b[31mred\u001b[0m",
  "\u001b]0;title\u0007",
  "\u009b2J",
  "\u007f\b\b",
  "a*[b]?c",
  "\\",
  "{",
  "}",
  "{}",
  "{a}b",
  "a{b}{c}",
  "a}{b",
  "nul\0nul",
  "\0",
  "\ud800",
  "\udfff\ud800",
  "a\uffffb",
  "\u202eright to left",
  "zero\u200bwidth",
  "line\u2028break",
  "👩‍👩‍👧‍👦",
  "é",
  "e\u0301",
  "x".repeat(1_024),
  "€".repeat(341),
  "a:holders",
  "{a}:queue",
  "a:fence",
  "client:AAAAAAAAAAAAAAAAAAAAAA",
  ":node",
  "{x}:shared-value",
  "push:AAAAAAAAAAAAAAAAAAAAAA",
  "#1#2",
  "' OR 1=1 --",
  "<img src=x onerror=alert(1)>",
  "$(reboot)",
  "%s%n%d",
  "../../etc/passwd",
  " ",
  "",
];

export const hostileName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_NAMES),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength: 10 }),
);

/** Any value at all. */
export const anything: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...ODD) },
  { weight: 1, arbitrary: throwing },
  { weight: 1, arbitrary: fc.constant(AbortSignal.abort(new Mine("aborted"))) },
  { weight: 2, arbitrary: hostileName },
  { weight: 1, arbitrary: fc.anything({ maxDepth: 2, withBigInt: true, withNullPrototype: true, withDate: true }) },
);

/** A function that can be called, or no function: what a function does is its caller's. */
export const callback: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(() => 7) },
  { weight: 1, arbitrary: anything.filter((value) => typeof value !== "function") },
);

/** An object with some of these options, each as it should be or not, and now and then one that nobody knows. */
export function options(known: Readonly<Record<string, readonly unknown[]>>): fc.Arbitrary<unknown> {
  const each = Object.entries(known).map(([name, good]) => {
    const value = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...good) }, { weight: 2, arbitrary: anything });
    return [name, value] as const;
  });
  const record = fc.record({ ...Object.fromEntries(each), nobodyKnowsThis: anything }, { requiredKeys: [] });
  const known1 = fc.record(Object.fromEntries(each), { requiredKeys: [] });
  return fc.oneof(
    { weight: 5, arbitrary: known1 },
    { weight: 1, arbitrary: record },
    { weight: 2, arbitrary: anything },
  );
}

export type Outcome = { readonly value: unknown } | { readonly error: unknown };

const PATIENCE = 5_000;

/** What becomes of a call, however it fails. @throws if it has not ended in time */
export async function outcomeOf(call: () => unknown): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Hangs(`It has not ended within ${PATIENCE} ms.`)), PATIENCE);
  });
  try {
    return { value: await Promise.race([call(), late]) };
  } catch (error) {
    if (error instanceof Hangs) throw error;
    return { error };
  } finally {
    clearTimeout(timer);
  }
}

class Hangs extends Error {}

/** Whether what was asked for was refused, and not tried. */
export function isRefusal(error: unknown): boolean {
  return (
    error instanceof TypeError ||
    error instanceof RangeError ||
    (error instanceof DOMException && error.name === "NotSupportedError")
  );
}

/**
 * Fails unless the error is one of those that are documented: a LockError, what the Web Locks API throws, or a TypeError or
 * RangeError in whole sentences. What JavaScript itself says of a bug ("x is not a function") never ends with a full stop.
 */
export function expectClear(error: unknown): void {
  if (error instanceof Mine) return;
  expectHarmless(error);
  const { message, stack } = error as Error;
  expect(message, `the message of ${stack ?? String(error)}`).toMatch(/^[^]{10,}([.!]|\(holdfast[^\s()]+\))$/);
  if (error instanceof LockError) expect(error.help).toMatch(/#[a-z-]+$/);
}

/** What JavaScript says of mistakes in a program. */
const OF_A_BUG =
  /\bCannot (read|convert|destructure|set|create|mix|access|use|assign)\b|\bis not (iterable|a (function|constructor|symbol|valid date)|defined)(?!\.)|Invalid array length|Maximum call stack|^(undefined|null) /;

/** Fails if the error is a bug's, or if its message could do harm where it is shown. Drop-ins speak as what they replace. */
export function expectHarmless(error: unknown): void {
  if (error instanceof Mine) return;
  expect(error, "what was thrown").toBeInstanceOf(Error);
  const { message, stack } = error as Error;
  expect(message, `the message of ${stack ?? String(error)}`).not.toMatch(OF_A_BUG);
  expect(message.length, message).toBeLessThan(2_000);
  // Nothing in it is obeyed by a terminal that shows it, or breaks out of its line.
  expect(message.replaceAll(/[\t\n]/g, ""), "what no message holds as it is").not.toMatch(/[\p{Cc}\u2028\u2029]/u);
}
