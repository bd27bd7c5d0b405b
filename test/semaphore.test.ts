/** What a semaphore promises, on every scheme and client library. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Lock, type LockError, type LockLostError, LockTimeoutError } from "../src/index.ts";
import type { LockManager, Semaphore } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { rejection, stateOf, turn, unique } from "./support/locks.ts";
import { participant, PROCESSES } from "./support/processes.ts";
import { cleared, openStage } from "./support/stage.ts";
import { until, untilRisen } from "./support/until.ts";
import { type World, counting, countless } from "./support/worlds.ts";

describe.each(counting)("$title", ({ open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;

  beforeAll(async () => {
    world = await open();
    a = await world.manager();
    b = await world.manager();
  });
  afterAll(() => world.close());

  /** Nothing is left but the fence counter, and who the managers are. */
  afterEach(async () => {
    await until(async () => {
      const { held, pending } = await a.query();
      return held.length + pending.length === 0;
    }, "nobody held permits and nobody waited");
    if (world.server) expect((await world.keys()).filter((key) => !/:client:|:fence$/.test(key))).toEqual([]);
  });

  const both = (name: string, limit: number): [Semaphore, Semaphore] => [
    a.semaphore(name, limit),
    b.semaphore(name, limit),
  ];

  /** Waiting requests, in the order in which they stand in line. */
  async function inLine(name: string, ...asks: (() => Promise<Lock>)[]): Promise<Promise<Lock>[]> {
    const waiting: Promise<Lock>[] = [];
    const before = (await stateOf(a, name)).pending.length;
    for (const ask of asks) {
      waiting.push(ask());
      await until(
        async () => (await stateOf(a, name)).pending.length === before + waiting.length,
        `${waiting.length} waited`,
      );
    }
    return waiting;
  }

  test("exactly as many permits are held as there are, no matter who asks", async () => {
    const [one, two] = both(unique(), 3);
    const first = await one.acquire({ permits: 2 });
    const second = await two.acquire();
    expect([await one.tryAcquire(), await two.tryAcquire({ permits: 2 })]).toEqual([null, null]);
    expect(second.fence).toBeGreaterThan(first.fence);
    expect(await first.release()).toBe(true);
    const third = await two.tryAcquire({ permits: 2 });
    expect(third?.held).toBe(true);
    expect([await second.release(), await third?.release()]).toEqual([true, true]);
  });

  test("under contention never more than the limit run, and all do", async () => {
    const [one, two] = both(unique(), 3);
    let [used, most, done] = [0, 0, 0];
    const run = (semaphore: Semaphore, permits: number): Promise<void> =>
      semaphore.request({ permits }, async () => {
        used += permits;
        most = Math.max(most, used);
        await turn();
        used -= permits;
        done++;
      });
    await Promise.all(Array.from({ length: 40 }, (_, i) => run(i % 2 ? one : two, 1 + (i % 3))));
    expect({ most, done, used }).toEqual({ most: 3, done: 40, used: 0 });
  });

  test("a large request is not overtaken by small ones, neither by those in line nor by newcomers", async () => {
    const name = unique();
    const [one, two] = both(name, 3);
    const [first, second] = [await one.acquire(), await one.acquire()];
    const [large, small] = await inLine(
      name,
      () => two.acquire({ permits: 3 }),
      () => one.acquire(),
    );
    expect(await two.tryAcquire()).toBeNull();
    await first.release();
    expect(await two.tryAcquire()).toBeNull();
    expect((await stateOf(a, name)).pending.map(({ permits }) => permits)).toEqual([3, 1]);
    await second.release();
    const served = await large;
    expect((await stateOf(a, name)).pending.map(({ permits }) => permits)).toEqual([1]);
    await served?.release();
    await (await small)?.release();
  });

  test("when a large request gives up, the small ones behind it are let in", async () => {
    const name = unique();
    const [one, two] = both(name, 3);
    const first = await one.acquire();
    const abort = new AbortController();
    const large = rejection(two.acquire({ permits: 3, signal: abort.signal }));
    await until(async () => (await stateOf(a, name)).pending.length === 1, "the large one waited");
    const [small] = await inLine(name, () => one.acquire({ permits: 2 }));
    abort.abort(new Error("changed my mind"));
    expect(await large).toMatchObject({ message: "changed my mind" });
    await (await small)?.release();
    await first.release();
  });

  test("waitTimeout ends a wait for permits and leaves nothing in line", async () => {
    const name = unique();
    const [one, two] = both(name, 2);
    const first = await one.acquire();
    expect(await rejection(two.acquire({ permits: 2, waitTimeout: 30 }))).toBeInstanceOf(LockTimeoutError);
    await until(async () => (await stateOf(a, name)).pending.length === 0, "it had left the line");
    expect(await (await two.tryAcquire())?.release()).toBe(true);
    await first.release();
  });

  test("permits come back when their own lease ends, and no others", async () => {
    const name = unique();
    const [one, two] = both(name, 3);
    await using long = await one.acquire({ ttl: 60_000 });
    // Much longer than an answer may take on a busy machine.
    const short = await one.acquire({ permits: 2, ttl: 600, renew: false });
    await using next = await two.acquire({ permits: 2, ttl: 60_000 });
    expect(short.held).toBe(false);
    expect((short.signal.reason as LockLostError).reason).toBe("expired");
    expect(await short.release()).toBe(false);
    expect(await two.tryAcquire()).toBeNull();
    expect([await long.release(), await next.release()]).toEqual([true, true]);
  });

  test("a lease is renewed and extended as a lock's is", async () => {
    const name = unique();
    const [one] = both(name, 1);
    const lock = await one.acquire({ ttl: 2_400 });
    await untilRisen(() => lock.remaining, "it was renewed");
    expect([lock.held, await one.tryAcquire()]).toEqual([true, null]);
    await lock.extend(60_000);
    expect((await stateOf(a, name)).held[0]?.remaining).toBeGreaterThan(50_000);
    expect(await lock.release()).toBe(true);
  });

  test("a limit that differs is refused while others hold or wait, and the error names both", async () => {
    const name = unique();
    const [one] = both(name, 2);
    const held = await one.acquire({ permits: 2 });
    const says = `Expected "${name}" to be a semaphore of 3; it is in use as a semaphore of 2.`;
    for (const verb of ["acquire", "tryAcquire"] as const) {
      const error = (await rejection(b.semaphore(name, 3)[verb]())) as LockError;
      expect([error.code, error.message]).toEqual(["mismatch", expect.stringContaining(says)]);
    }
    await held.release();
    const other = await b.semaphore(name, 3).acquire({ permits: 3 });
    await other.release();
  });

  test("a name is a lock's or a semaphore's, and a request for the other kind is refused", async () => {
    const name = unique();
    const [one] = both(name, 2);
    const lock = await a.acquire(name);
    const asSemaphore = (await rejection(b.semaphore(name, 2).acquire())) as LockError;
    expect(asSemaphore).toMatchObject({ code: "mismatch" });
    expect(asSemaphore.message).toContain(`Expected "${name}" to be a semaphore of 2; it is in use as a lock.`);
    await lock.release();
    const permit = await one.acquire();
    const asks = [
      b.acquire(name),
      b.tryAcquire(name),
      b.acquire(name, { mode: "shared" }),
      b.acquire(name, { steal: true }),
      // Two at once share a place in line, where the scheme has turns.
      b.acquire(name, { label: "one" }),
    ];
    for (const error of await Promise.all(asks.map(rejection))) {
      expect(error).toMatchObject({ code: "mismatch" });
      expect((error as Error).message).toContain("to be a lock; it is in use as a semaphore of 2.");
    }
    expect(permit.held).toBe(true);
    await permit.release();
  });

  test("one request that is refused concerns no other of the same moment", async () => {
    const name = unique();
    const [one] = both(name, 2);
    const held = await one.acquire();
    const [refused, granted, free] = await Promise.all([
      rejection(a.semaphore(name, 5).acquire()),
      one.acquire(),
      a.semaphore(unique(), 5).acquire(),
    ]);
    expect(refused).toMatchObject({ code: "mismatch" });
    expect([granted.held, free.held]).toEqual([true, true]);
    await Promise.all([held, granted, free].map((each) => each.release()));
  });

  test("query reports permits and limit of holders and waiters, and labels", async () => {
    const name = unique();
    const [one, two] = both(name, 3);
    const held = await one.acquire({ permits: 2, label: "trains 7" });
    const [waiting] = await inLine(name, () => two.acquire({ permits: 3, label: "4 waits" }));
    const { held: holders, pending } = await stateOf(b, name);
    expect(holders).toMatchObject([
      { name, mode: "shared", permits: 2, limit: 3, label: "trains 7", token: held.token, fence: held.fence },
    ]);
    expect(pending).toMatchObject([{ name, mode: "shared", permits: 3, limit: 3, label: "4 waits" }]);
    await held.release();
    await (await waiting)?.release();
    const lock = await a.acquire(name);
    expect((await stateOf(b, name)).held[0]).not.toHaveProperty("permits");
    await lock.release();
  });

  test("forceRelease takes the permits of exactly those that were expected", async () => {
    const name = unique();
    const [one, two] = both(name, 2);
    const [robbed, kept] = [await one.acquire({ ttl: 3_000 }), await one.acquire()];
    const [next] = await inLine(name, () => two.acquire());
    expect(await b.forceRelease(name, [robbed.token])).toMatchObject([{ token: robbed.token, permits: 1, limit: 2 }]);
    await until(() => !robbed.held, "the holder was told");
    const got = await next;
    expect([kept.held, got?.held]).toEqual([true, true]);
    await Promise.all([robbed.release(), kept.release(), got?.release()]);
  });

  test("request settles as the callback does, and ifAvailable calls it with null", async () => {
    const [one] = both(unique(), 1);
    const result = await one.request(async (lock) => [lock.mode, await one.request({ ifAvailable: true }, (l) => l)]);
    expect(result).toEqual(["shared", null]);
    const mine = new Error("mine");
    expect(await rejection(one.request(() => Promise.reject(mine)))).toBe(mine);
    expect(await (await one.tryAcquire())?.release()).toBe(true);
  });

  test("close releases permits and withdraws waiters", async () => {
    const name = unique();
    const manager = await world.manager();
    const semaphore = manager.semaphore(name, 2);
    const held = await semaphore.acquire();
    const waiter = rejection(semaphore.acquire({ permits: 2 }));
    await manager.close();
    expect(await waiter).toMatchObject({ code: "closed" });
    expect(held.held).toBe(false);
    await (await a.semaphore(name, 2).acquire({ permits: 2 })).release();
  });
});

describe("bad input", () => {
  const locks = new TestLocks().manager();

  test.each([
    [undefined, TypeError, "limit, how many permits the semaphore has, to be a whole number; got undefined"],
    ["4", TypeError, 'limit to be a whole number; got "4"'],
    [1.5, TypeError, "limit to be a whole number; got 1.5"],
    [NaN, TypeError, "limit to be a whole number; got NaN"],
    [0, RangeError, "limit to be from 1 to 1000000; got 0"],
    [-1, RangeError, "limit to be from 1 to 1000000; got -1"],
    [1_000_001, RangeError, "limit to be from 1 to 1000000; got 1000001"],
  ])("limit %o is refused at once", (limit, kind, says) => {
    const make = (): unknown => locks.semaphore("gpu", limit as number);
    expect(make).toThrow(kind);
    expect(make).toThrow(says);
  });

  test("a semaphore's name is one", () => {
    expect(() => locks.semaphore(4 as never, 4)).toThrow("Expected the lock's name to be a string; got 4.");
  });

  test.each([
    [{ permits: 0 }, RangeError, "permits to be from 1 to 4; got 0"],
    [{ permits: 5 }, RangeError, "permits to be from 1 to 4; got 5"],
    [{ permits: 1.5 }, TypeError, "permits to be a whole number; got 1.5"],
    [{ permits: "2" }, TypeError, 'permits to be a whole number; got "2"'],
    [{ permits: null }, TypeError, "permits to be a whole number; got null"],
    [{ mode: "shared" }, TypeError, 'A semaphore\'s request cannot take mode; got "shared"'],
    [{ steal: true }, TypeError, "A semaphore's request cannot take steal; got true"],
    [{ ttl: 10 }, RangeError, "ttl to be a whole number of at least 50 milliseconds; got 10"],
  ])("a request with %o is refused by every verb", async (options, kind, says) => {
    const semaphore = locks.semaphore("gpu", 4);
    const verbs = [
      semaphore.acquire(options as never),
      semaphore.tryAcquire(options as never),
      semaphore.request(options as never, () => "ran"),
    ];
    for (const error of await Promise.all(verbs.map(rejection))) {
      expect(error).toBeInstanceOf(kind);
      expect((error as Error).message).toContain(says);
    }
  });

  test("a callback that is none is refused", async () => {
    const error = await rejection(locks.semaphore("gpu", 4).request({ permits: 2 }, undefined as never));
    expect((error as Error).message).toBe("Expected the callback to be a function; got undefined.");
  });

  test("permits of a lock are refused, and the remedy is named", async () => {
    const error = await rejection(locks.acquire("gpu", { permits: 2 } as never));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain("Use semaphore(name, limit)");
  });
});

test.for(countless)(
  "semaphores are refused where there are none ($title), and the error says what to use",
  async (place, t) => {
    const world = await place.open();
    t.onTestFinished(() => world.close());
    const locks = await world.manager();
    const error = (await rejection(locks.semaphore(unique(), 2).acquire())) as LockError;
    expect([error.code, error.message]).toEqual([
      "unsupported",
      `The scheme "${place.scheme}" has no semaphores. Use the scheme "lua". (holdfast/docs/troubleshooting.md#unsupported)`,
    ]);
  },
);

test(
  "the permits of a process that is killed come back when its lease ends, and its place in line at once",
  PROCESSES,
  async (t) => {
    const stage = await openStage(t);
    const [locks, other] = [await stage.manager(), await stage.manager()];
    const name = unique();
    const doomed = await participant(t, stage.server.url);
    await doomed.tell("permits", name, 3, { permits: 2, ttl: 1_000 });
    const kept = await locks.semaphore(name, 3).acquire();
    await doomed.tell("queue for permits", name, 3, { permits: 3 });
    await until(async () => (await stateOf(locks, name)).pending.length === 1, "its second request waited");
    const next = other.semaphore(name, 3).acquire({ permits: 2 });
    await until(async () => (await stateOf(locks, name)).pending.length === 2, "another waited behind it");
    await doomed.kill();
    const served = await next;
    expect([served.held, kept.held]).toEqual([true, true]);
    await Promise.all([served.release(), kept.release()]);
    await cleared(stage.redis);
  },
);

test("permits cannot be detached, or attached with made-up data", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  const name = unique();
  const lock = await locks.semaphore(name, 2).acquire();
  expect(await rejection(lock.detach())).toMatchObject({ code: "unsupported" });
  const { token, fence } = lock;
  const made = { name, mode: "shared" as const, token, fence, ttl: 1_000, remaining: 500 };
  expect(await rejection(locks.attach(made))).toMatchObject({ code: "gone" });
  expect(await lock.release()).toBe(true);
  await cleared(stage.redis);
});

test("clients with wrong clocks and other ttls evict nobody", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  const name = unique();
  const held = await locks.semaphore(name, 2).acquire({ permits: 2, ttl: 5_000 });
  const now = Date.now;
  t.onTestFinished(() => void (Date.now = now));
  Date.now = () => now() + 3_600_000;
  const hurried = await stage.manager();
  for (const ttl of [50, 60_000]) expect(await hurried.semaphore(name, 2).tryAcquire({ ttl })).toBeNull();
  expect(await held.release()).toBe(true);
});

test("a key that was deleted by hand leaves no permits in use, and the name can become a lock", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  for (const next of ["semaphore", "lock"] as const) {
    const name = unique();
    const lost = await locks.semaphore(name, 2).acquire({ permits: 2 });
    await stage.redis.del(`lock:${name}`);
    const semaphore = locks.semaphore(name, 2);
    const got =
      next === "lock" ? await locks.acquire(name, { mode: "shared" }) : await semaphore.acquire({ permits: 2 });
    expect((await stateOf(locks, name)).held).toMatchObject([{ token: got.token }]);
    expect((await stateOf(locks, name)).held[0]?.limit).toBe(next === "lock" ? undefined : 2);
    // Another of its kind is let in, or not, as the present holders have it.
    const another = next === "lock" ? await locks.tryAcquire(name, { mode: "shared" }) : await semaphore.tryAcquire();
    expect(another !== null).toBe(next === "lock");
    await Promise.all([got.release(), lost.release(), another?.release()]);
  }
  await cleared(stage.redis);
});
