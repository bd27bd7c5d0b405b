/** Locks in memory: many at a time, and of several copies of the library. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { LockError, LockManager } from "../src/index.ts";
import { MemoryScheme, MemoryStore } from "../src/schemes/memory.ts";
import { SortedMap } from "../src/schemes/memory/sorted-map.ts";
import { ManualClock, TestLocks } from "../src/testing.ts";
import type { Answer, Granted, LockMode, Release } from "../src/schemes/scheme.ts";
import { ask, type Asking, extend, release } from "./support/calls.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A scheme whose time stands still, and whom it has granted the lock since. */
function openScheme() {
  const scheme = new MemoryScheme(new MemoryStore(new ManualClock()), { prefix: "", clientId: "c", label: "" });
  const granted: string[] = [];
  const listener = {
    granted: (_: string, token: string) => void granted.push(token),
    next() {},
    lost() {},
    missed() {},
  };
  scheme.listen(listener);
  const requests = new Map<number, Asking>();
  const requestOf = (i: number, mode: LockMode): Asking => {
    const request = requests.get(i) ?? { lock: "x", token: `c:${i}`, mode, ttl: 60_000, label: "" };
    requests.set(i, request);
    return request;
  };
  return {
    ask: (i: number, mode: LockMode): Promise<Answer> => ask(scheme, requestOf(i, mode), true),
    release: (i: number): Promise<Release> => release(scheme, { lock: "x", token: `c:${i}` }),
    granted,
  };
}

/** So many that the arguments of a call overflow. */
const READERS = 150_000;
/** So many that a search through all of them for each would take minutes. */
const WAITERS = 50_000;

/** They take a few seconds of a processor, which others use as well. */
const LONG = { timeout: 60_000 };

test("a writer waits behind 150,000 readers until the last has left", LONG, async () => {
  const lock = openScheme();
  for (let i = 0; i < READERS; i++) if ((await lock.ask(i, "shared")).kind !== "granted") expect.unreachable();
  expect(await lock.ask(READERS, "exclusive")).toMatchObject({ kind: "pending", ahead: 0 });
  for (let i = 0; i < READERS; i++) await lock.release(i);
  expect(lock.granted).toEqual([`c:${READERS}`]);
});

test(
  "50,000 waiters know their places whenever they ask, and are served in order, but those who have left",
  LONG,
  async () => {
    const lock = openScheme();
    await lock.ask(-1, "exclusive");
    for (let round = 1; round <= 2; round++) {
      for (let i = 0; i < WAITERS; i++) {
        const answer = await lock.ask(i, "exclusive");
        if (answer.kind !== "pending" || answer.ahead !== i)
          expect(answer).toMatchObject({ kind: "pending", ahead: i });
      }
    }
    for (let i = 0; i < WAITERS; i += 2) await lock.release(i);
    expect(await lock.ask(WAITERS - 1, "exclusive")).toMatchObject({ kind: "pending", ahead: WAITERS / 2 - 1 });
    await lock.release(-1);
    for (let i = 1; i < WAITERS; i += 2) await lock.release(i);
    expect(lock.granted).toEqual(Array.from({ length: WAITERS / 2 }, (_, i) => `c:${2 * i + 1}`));
  },
);

test("a sorted map does what a sorted list would, whatever is done to it", () => {
  const token = fc.nat(300).map(String);
  // Without a score the token is taken out.
  const step: fc.Arbitrary<{ token: string; score?: number }> = fc.record(
    { token, score: fc.nat(50) },
    { requiredKeys: ["token"] },
  );
  // Enough to be cut into blocks, and so few scores that many are equal.
  const many = fc
    .array(step, { maxLength: 200 })
    .map((steps) => [
      ...Array.from({ length: 1_500 }, (_, i) => ({ token: `${(i * 7_919) % 1_500}`, score: (i * 31) % 97 })),
      ...steps,
    ]);
  fc.assert(
    fc.property(many, (steps) => {
      const map = new SortedMap<{ readonly score: number }>(({ score }) => score);
      const model = new Map<string, number>();
      for (const { token: which, score } of steps) {
        if (score === undefined) {
          expect(map.delete(which)).toBe(model.delete(which));
        } else {
          map.set(which, { score });
          model.set(which, score);
        }
      }
      const sorted = [...model].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
      expect(Array.from(map, ([each, { score }]) => [each, score])).toEqual(sorted);
      expect([map.size, map.first, map.last]).toEqual([sorted.length, sorted[0]?.[0], sorted.at(-1)?.[0]]);
      for (const place of [0, 1, 700, sorted.length - 1]) {
        if (sorted[place]) expect(map.rank(sorted[place][0])).toBe(place);
      }
    }),
    { numRuns: 30 },
  );
});

test("two copies of the library in one process exclude one another, and hand on in order", async () => {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-copy-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  await cp(join(root, "dist"), join(dir, "dist"), { recursive: true });
  await cp(join(root, "package.json"), join(dir, "package.json"));
  await symlink(join(root, "node_modules"), join(dir, "node_modules"));
  const program = `
    import { LockManager as One } from ${JSON.stringify(join(root, "dist/index.js"))};
    import { LockManager as Two } from ${JSON.stringify(join(dir, "dist/index.js"))};
    const [one, two] = [new One(), new Two()];
    const held = await one.acquire("x");
    const refused = await two.tryAcquire("x");
    const waiting = two.acquire("x");
    await held.release();
    const next = await waiting;
    console.log(JSON.stringify({ differ: One !== Two, refused, grew: next.fence > held.fence }));
    process.exit();`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program]);
  expect(JSON.parse(stdout)).toEqual({ differ: true, refused: null, grew: true });
});

test("locks of a copy that keeps them in another way are refused, not ignored", () => {
  const key = Symbol.for("holdfast.memory");
  const known = Object.getOwnPropertyDescriptor(globalThis, key);
  onTestFinished(() => {
    delete (globalThis as Record<symbol, unknown>)[key];
    if (known) Object.defineProperty(globalThis, key, known);
  });
  Object.defineProperty(globalThis, key, { value: { version: 1_000, store: {} }, configurable: true });
  expect(() => new LockManager()).toThrow(LockError);
  expect(() => new LockManager()).toThrow("theirs have version 1000, ours 1. Install one version only");
});

test("managers with other prefixes see no locks of each other, also of the same name", async () => {
  const world = new TestLocks();
  const [a, b] = [world.manager({ prefix: "one:" }), world.manager({ prefix: "two:" })];
  await using lock = await a.acquire("x");
  await using other = await b.acquire("x");
  expect((await a.query()).held.map(({ token }) => token)).toEqual([lock.token]);
  expect((await b.query({ match: "*" })).held.map(({ token }) => token)).toEqual([other.token]);
});

test("an extension that comes too late says whether another holds the lock by then", async () => {
  const scheme = new MemoryScheme(new MemoryStore(new ManualClock()), { prefix: "", clientId: "c", label: "" });
  const wish = (i: number): Asking => ({ lock: "x", token: `c:${i}`, mode: "exclusive", ttl: 60_000, label: "" });
  const { fence } = (await ask(scheme, wish(1), false)) as Granted;
  expect(await extend(scheme, { ...wish(1), fence }, 60_000)).toBe("extended");
  await scheme.steal(wish(2));
  expect(await extend(scheme, { ...wish(1), fence }, 60_000)).toBe("stolen");
  await release(scheme, wish(2));
  expect(await extend(scheme, { ...wish(1), fence }, 60_000)).toBe("gone");
});
