/** Several locks as one, on every scheme. */
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { LockLostError, LockTimeoutError, SeveralLocks } from "../src/index.ts";
import type { LockManager, LockOptions } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { expectDOMException, expectTypeError, isFree, rejection, stateOf, turn, unique } from "./support/locks.ts";
import { PROCESSES, participant } from "./support/processes.ts";
import { cleared, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;
  let c: LockManager;
  const waits = scheme !== "set";

  beforeAll(async () => {
    world = await open();
    [a, b, c] = [await world.manager(), await world.manager(), await world.manager()];
  });
  afterAll(() => world.close());
  /** Whatever happened to the wait or the holder. */
  afterEach(async () => {
    await until(async () => {
      const { held, pending } = await a.query();
      return held.length + pending.length === 0;
    }, "no lock was held and nobody waited");
  });

  /** Three names, in the order of their keys. */
  const three = () => [1, 2, 3].map((i) => unique(`lock ${i}`)) as [string, string, string];

  test("all are held while the callback runs, each with a fence of its own, and free afterwards", async () => {
    const [one, two, three_] = three();
    await a.request([two, three_, one, two], async (locks) => {
      expect(locks).toBeInstanceOf(SeveralLocks);
      expect(locks.names).toEqual([one, two, three_]);
      expect([locks.held, locks.mode, locks.fence]).toEqual([true, "exclusive", undefined]);
      expect(new Set(locks.fences.values()).size).toBe(3);
      for (const name of locks.names) {
        const { held } = await stateOf(b, name);
        expect(held[0]?.token).toBe(locks.tokens.get(name));
        if (waits) expect(held[0]?.fence).toBe(locks.fences.get(name));
      }
    });
    for (const name of [one, two, three_]) expect(await isFree(b, name)).toBe(true);
  });

  test("one name in an array has its fence; release counts once", async () => {
    const name = unique();
    const locks = await a.acquire([name]);
    expect(locks.fence).toBe(locks.fences.get(name));
    expect(await locks.release()).toBe(true);
    expect(await locks.release()).toBe(false);
    expect([locks.held, locks.remaining]).toEqual([false, 0]);
  });

  test("callers that name them in any order exclude each other and do not deadlock", async () => {
    const names = three();
    const orders = [
      [0, 1],
      [1, 0],
      [1, 2],
      [2, 0],
      [2, 1, 0],
    ].map((order) => order.map((i) => names[i] as string));
    const inside = new Set<string>();
    const run = (locks: LockManager, order: string[]) =>
      locks.request(order, { waitTimeout: 15_000 }, async () => {
        for (const name of order) {
          expect(inside.has(name)).toBe(false);
          inside.add(name);
        }
        await turn();
        for (const name of order) inside.delete(name);
      });
    await Promise.all([a, b, c].flatMap((locks) => orders.map((order) => run(locks, order))));
  });

  if (waits)
    test("whatever names are wanted in whatever order, all are served, and no two hold the same", async () => {
      const wish = fc.record({
        who: fc.constantFrom(0, 1),
        names: fc.shuffledSubarray(["a", "b", "c"], { minLength: 1 }),
        turns: fc.nat(3),
      });
      const serve = async (wishes: { who: number; names: string[]; turns: number }[]): Promise<void> => {
        const prefix = unique();
        const held = new Set<string>();
        const requests = wishes.map(({ who, names, turns }) =>
          (who === 0 ? a : b).request(
            names.map((name) => prefix + name),
            async () => {
              for (const name of names) expect(held.has(name), `${name} was held`).toBe(false);
              for (const name of names) held.add(name);
              for (let i = 0; i < turns; i++) await turn();
              for (const name of names) held.delete(name);
            },
          ),
        );
        await Promise.all(requests);
        expect(await a.query({ match: `${prefix}*` })).toEqual({ held: [], pending: [] });
      };
      await fc.assert(fc.asyncProperty(fc.array(wish, { minLength: 1, maxLength: 10 }), serve), { numRuns: 30 });
    });

  test("tryAcquire and ifAvailable take all or none", async () => {
    const names = three();
    await using _ = await a.acquire(names[2]);
    expect(await b.tryAcquire(names)).toBeNull();
    expect(await b.request(names, { ifAvailable: true }, (locks) => locks)).toBeNull();
    expect(await isFree(c, names[0])).toBe(true);
    await using rest = (await b.tryAcquire(names.slice(0, 2))) as SeveralLocks;
    expect(rest.held).toBe(true);
  });

  test.each([0, 60])("waitTimeout %i is for the whole, and leaves nothing behind", async (waitTimeout) => {
    const names = three();
    await using _ = await a.acquire(names[1]);
    const error = await rejection(b.acquire(names, { waitTimeout }));
    expect(error).toBeInstanceOf(LockTimeoutError);
    expect((error as Error).message).toContain(`${names[1]}" was not granted within ${waitTimeout} ms`);
    await until(() => isFree(c, names[0]), "the first was given back");
    if (waits) expect((await stateOf(c, names[1])).pending).toEqual([]);
  });

  test("an aborted signal ends the wait with its reason, and leaves nothing behind", async () => {
    const names = three();
    await using _ = await a.acquire(names[2]);
    const controller = new AbortController();
    const wait = rejection(b.acquire(names, { signal: controller.signal }));
    await until(async () => (await stateOf(c, names[1])).held.length === 1, "two were held");
    controller.abort("enough");
    expect(await wait).toBe("enough");
    await until(() => isFree(c, names[0]), "the first was given back");
    await until(() => isFree(c, names[1]), "the second was given back");
  });

  test("what is held already is renewed while others are waited for, and maxHold counts from the last grant", async () => {
    const names = three();
    const holder = await a.acquire(names[2]);
    const wait = b.acquire(names, { ttl: 300, maxHold: 350, renew: false });
    await until(async () => (await stateOf(c, names[1])).held.length === 1, "two were held");
    const before = performance.now();
    await until(() => performance.now() - before > 650, "their ttl had passed twice");
    await holder.release();
    const locks = await wait;
    expect(locks.held).toBe(true);
    expect(locks.remaining).toBeGreaterThan(0);
    await until(() => locks.signal.aborted, "maxHold was over");
    expect(locks.signal.reason).toBeInstanceOf(LockLostError);
    await locks.release();
  });

  test("with renew: false none is renewed any more once all are held", async () => {
    const locks = await a.acquire(three(), { ttl: 300, renew: false });
    await until(() => locks.signal.aborted, "their time was over");
    expect((locks.signal.reason as LockLostError).reason).toBe("expired");
    await locks.release();
  });

  test("a lock that is lost while others are waited for ends the wait", async () => {
    const names = three();
    await using _ = await a.acquire(names[2]);
    const wait = rejection(b.acquire(names, { ttl: 500 }));
    await until(async () => (await stateOf(c, names[1])).held.length === 1, "two were held");
    await using thief = await c.acquire(names[0], { steal: true });
    expect(await wait).toBeInstanceOf(LockLostError);
    expect(thief.held).toBe(true);
    await until(() => isFree(c, names[1]), "the second was given back");
  });

  test("the whole is lost with the first: its signal is aborted and its request rejects", async () => {
    const names = three();
    let reason: unknown;
    const request = a.request(names, { ttl: 1_500 }, async (locks) => {
      await until(() => locks.signal.aborted, "it was told");
      reason = locks.signal.reason;
      expect([locks.held, locks.remaining]).toEqual([false, 0]);
    });
    const refused = rejection(request);
    await until(async () => (await stateOf(c, names[2])).held.length === 1, "all were held");
    await using _ = await b.acquire(names[1], { steal: true });
    expectDOMException(await refused, "AbortError");
    await until(() => reason, "the callback was told");
    expect(reason).toBeInstanceOf(LockLostError);
  });

  test("extend makes all of them longer, and fails when one is lost", async () => {
    const names = three();
    const locks = await a.acquire(names, { ttl: 1_000, renew: false });
    await locks.extend(60_000);
    expect(locks.remaining).toBeGreaterThan(50_000);
    await using _ = await b.acquire(names[1], { steal: true });
    expect(await rejection(locks.extend())).toBeInstanceOf(LockLostError);
    expect(await locks.release()).toBe(false);
    expect(await isFree(c, names[0])).toBe(true);
  });

  test("nested in a request of some of them, with reentrant, the rest is taken and only that released", async () => {
    const names = three();
    await a.request(names[0], { reentrant: true }, async (outer) => {
      await a.request(names, { reentrant: true }, async (locks) => {
        expect(locks.fences.get(names[0])).toBe(outer.fence);
        await a.request(names[2], { reentrant: true }, (lock) => expect(lock.fence).toBe(locks.fences.get(names[2])));
      });
      expect(await isFree(b, names[0])).toBe(false);
      expect(await isFree(b, names[2])).toBe(true);
    });
  });

  if (waits)
    test("shared locks of several names are shared", async () => {
      const names = three();
      await using one = await a.acquire(names, { mode: "shared" });
      await using two = await b.acquire(names, { mode: "shared" });
      expect([one.mode, two.held]).toEqual(["shared", true]);
      expect(await c.tryAcquire(names)).toBeNull();
    });
});

test(
  "a process that is killed while it holds some and waits for others leaves nothing behind",
  async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const holder = await locks.acquire("b");
    const victim = await participant(t, stage.server.url);
    await victim.tell("enqueue", ["a", "b"], { ttl: 3_000 });
    await until(async () => (await stateOf(locks, "b")).pending.length === 1, "it held one and waited for the other");
    expect(await isFree(locks, "a")).toBe(false);
    await victim.kill();
    await (await locks.acquire("a")).release();
    await holder.release();
    await cleared(stage.redis);
  },
  PROCESSES.timeout,
);

test("waitTimeout and signal end a wait though the server is silent, and nothing is left behind", async (t) => {
  const stage = await openStage(t);
  const proxy = await stage.proxy();
  const other = await stage.manager();
  const holder = await other.acquire("b");
  const locks = await stage.manager({ url: proxy.url });
  const controller = new AbortController();
  const aborted = rejection(locks.acquire(["a", "b"], { signal: controller.signal }));
  const timed = rejection(locks.acquire(["c", "b"], { waitTimeout: 1_500 }));
  const both = async (): Promise<boolean> => (await stateOf(other, "b")).pending.length === 2;
  await until(() => Promise.race([both(), timed]), "each held one and waited for the other");
  proxy.blackHole();
  controller.abort("enough");
  // Before anything that is sent now could have failed.
  expect(await until(() => aborted, "the abort was told", 4_000)).toBe("enough");
  expect(await until(() => timed, "the timeout was told", 4_000)).toBeInstanceOf(LockTimeoutError);
  await proxy.heal();
  await holder.release();
  await cleared(stage.redis);
});

describe("refused before anything is sent", () => {
  const locks = new TestLocks().manager();
  test.each([
    [[], {}, "Expected at least one lock's name; got an empty array."],
    [["a", 5], {}, "Expected the lock's name to be a string; got 5."],
    [["a"], { ttl: "1" }, 'Expected ttl to be a whole number of at least 50 milliseconds; got "1".'],
    [["a", ["b"]], {}, "Expected the lock's name to be a string; got an array of 1."],
  ])("%j, %j", async (names, options, message) => {
    const error = await rejection(locks.acquire(names as string[], options as LockOptions));
    expectTypeError(error);
    expect((error as Error).message).toBe(message);
    expectTypeError(
      await rejection(locks.request(names as string[], options as LockOptions & { ifAvailable: true }, () => {})),
    );
  });
});
