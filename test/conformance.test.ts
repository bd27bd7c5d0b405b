/** What every scheme promises, whatever client library carries it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { isLockLost, LockError, LockLostError, LockTimeoutError, type LockManager } from "../src/index.ts";
import { deferred, enqueue, hold, logged, rejection, stateOf, turn, unique } from "./support/locks.ts";
import { until, untilRisen } from "./support/until.ts";
import { type World, places } from "./support/worlds.ts";

describe.each(places)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;
  /** Requests stand in a queue that all see; without one they poll, in no order, and are not seen. */
  const waits = scheme !== "set";

  beforeAll(async () => {
    world = await open();
    a = await world.manager();
    b = await world.manager();
  });
  afterAll(() => world.close());

  /** Of all keys, only the fence counters may outlive the locks, and they have an expiry; and who the managers are. */
  afterEach(async () => {
    await until(async () => {
      const { held, pending } = await a.query();
      return held.length + pending.length === 0;
    }, "no lock was held and nobody waited");
    if (!world.server) return;
    const found = async (): Promise<string[]> =>
      (await world.keys()).filter((key) => !/^[\w{}]+:client:|:node$/.test(key));
    // A majority is enough for an answer: the other nodes may hear a little later that it is over.
    const cleared = async (): Promise<boolean> => (await found()).every((key) => key.endsWith(":fence"));
    if (scheme === "redlock") await until(cleared, "nothing was left");
    const keys = await found();
    expect(keys.filter((key) => !key.endsWith(":fence"))).toEqual([]);
    for (const key of keys) expect(await world.pttl(key), key).toBeGreaterThan(0);
  });

  test("one holder at a time: tryAcquire is refused while another manager holds", async () => {
    const name = unique();
    await using lock = await a.acquire(name);
    expect(lock.held).toBe(true);
    expect(await b.tryAcquire(name)).toBeNull();
    expect(await a.tryAcquire(name)).toBeNull();
  });

  test("tryAcquire with waitTimeout resolves to null when the time is up, and to the lock if it is free before", async () => {
    const name = unique();
    const lock = await a.acquire(name);
    expect(await b.tryAcquire(name, { waitTimeout: 60 })).toBeNull();
    expect(await a.tryAcquire(name, { waitTimeout: 60 })).toBeNull();
    expect(await b.tryAcquire(name, { waitTimeout: 0 })).toBeNull();
    expect(await b.tryAcquire([name, unique()], { waitTimeout: 60 })).toBeNull();
    const later = b.tryAcquire(name, { waitTimeout: 60_000 });
    await lock.release();
    expect(await (await later)?.release()).toBe(true);
  });

  test("counting under contention loses nothing", async () => {
    const name = unique();
    let count = 0;
    const add = (locks: LockManager): Promise<void> =>
      locks.request(name, async () => {
        const seen = count;
        await turn();
        count = seen + 1;
      });
    await Promise.all(Array.from({ length: 40 }, (_, i) => add(i % 2 ? a : b)));
    expect(count).toBe(40);
  });

  test("each grant has a larger fence, whoever gets it", async () => {
    const name = unique();
    const fences: number[] = [];
    for (let i = 0; i < 6; i++) {
      await using lock = await (i % 2 ? a : b).acquire(name);
      fences.push(lock.fence);
    }
    expect(fences.every((fence, i) => Number.isSafeInteger(fence) && fence > (fences[i - 1] ?? 0))).toBe(true);
  });

  test("a token names one grant for ever", async () => {
    const name = unique();
    const tokens = new Set<string>();
    for (let i = 0; i < 4; i++) {
      await using lock = await (i % 2 ? a : b).acquire(name);
      tokens.add(lock.token);
      expect(lock.token).toMatch(/^[\w-]{22}:\w+$/);
    }
    expect(tokens.size).toBe(4);
  });

  test("release tells whether the lock was held until then, and counts once", async () => {
    const lock = await a.acquire(unique());
    expect(await lock.release()).toBe(true);
    expect(await lock.release()).toBe(false);
    expect(lock.held).toBe(false);
    expect(lock.remaining).toBe(0);
    expect(lock.signal.aborted).toBe(false);
  });

  test("a lease that is not renewed ends by itself, and its holder is told", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 60, renew: false });
    const { signal } = lock;
    const next = await b.acquire(name);
    expect(lock.held).toBe(false);
    expect(signal.reason).toBeInstanceOf(LockLostError);
    expect((signal.reason as LockLostError).reason).toBe("expired");
    expect(next.fence).toBeGreaterThan(lock.fence);
    expect(await lock.release()).toBe(false);
    expect(next.held).toBe(true);
    await next.release();
  });

  test("a lease is renewed while it is held", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 2_400 });
    await untilRisen(() => lock.remaining, "it was renewed");
    expect(lock.held).toBe(true);
    expect(await b.tryAcquire(name)).toBeNull();
    expect(await lock.release()).toBe(true);
  });

  test("extend makes a lease longer and never shorter", async () => {
    const name = unique();
    await using lock = await a.acquire(name, { ttl: 500, renew: false });
    await lock.extend(60_000);
    expect(lock.remaining).toBeGreaterThan(50_000);
    await lock.extend(100);
    expect(lock.remaining).toBeGreaterThan(50_000);
    const { held } = await b.query({ name });
    expect(held[0]?.remaining).toBeGreaterThan(50_000);
  });

  test("extensions that overlap end with the longest, on the server as for the holder", async () => {
    const name = unique();
    await using lock = await a.acquire(name, { ttl: 500, renew: false });
    await Promise.all([lock.extend(60_000), lock.extend(500), lock.extend(30_000)]);
    expect(lock.remaining).toBeGreaterThan(50_000);
    expect((await b.query({ name })).held[0]?.remaining).toBeGreaterThan(50_000);
  });

  test("extend of a lost lock rejects with LockLostError", async () => {
    const lock = await a.acquire(unique(), { ttl: 50, renew: false });
    await until(() => !lock.held, "the lease ended");
    expect(await rejection(lock.extend())).toBeInstanceOf(LockLostError);
    await lock.release();
  });

  test("maxHold ends a lease however often it was renewed", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 300, maxHold: 450 });
    const next = b.acquire(name);
    await until(() => lock.signal.aborted, "the lease ended");
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    await (await next).release();
  });

  test("waitTimeout ends a wait with LockTimeoutError and leaves nothing in the queue", async () => {
    const name = unique();
    await using _ = await a.acquire(name);
    const error = await rejection(b.acquire(name, { waitTimeout: 30 }));
    expect(error).toBeInstanceOf(LockTimeoutError);
    expect((error as LockError).code).toBe("timeout");
    await until(async () => (await stateOf(a, name)).pending.length === 0, "the waiter had left the queue");
  });

  test("waitTimeout 0 tries once", async () => {
    const name = unique();
    await using _ = await a.acquire(name);
    expect(await rejection(b.acquire(name, { waitTimeout: 0 }))).toBeInstanceOf(LockTimeoutError);
  });

  test("abort ends a wait with the signal's reason, and the next in line is served", async () => {
    const name = unique();
    const first = await hold(a, name);
    const controller = new AbortController();
    const withdrawn = rejection(b.acquire(name, { signal: controller.signal }));
    if (waits) await until(async () => (await stateOf(a, name)).pending.length === 1, "one waits");
    const last = enqueue(a, name);
    controller.abort("enough");
    expect(await withdrawn).toBe("enough");
    await first.end();
    await last.granted;
    await last.end();
  });

  test("steal takes the lock at once; the holder is told and the thief has the larger fence", async () => {
    const name = unique();
    // Without pushes it is told at its next renewal.
    const lock = await a.acquire(name, { ttl: 3_000 });
    await using thief = await b.acquire(name, { steal: true });
    expect(thief.fence).toBeGreaterThan(lock.fence);
    await until(() => lock.signal.aborted, "the holder was told");
    expect((lock.signal.reason as LockLostError).reason).toBe("stolen");
    await lock.release();
    expect(thief.held).toBe(true);
  });

  test("a stolen request rejects with AbortError while its callback still runs", async () => {
    const name = unique();
    const never = deferred();
    const request = a.request(name, { ttl: 3_000 }, () => never.promise);
    const refused = rejection(request);
    await until(async () => (await stateOf(b, name)).held.length === 1, "the lock was held");
    await using _ = await b.acquire(name, { steal: true });
    const error = (await refused) as DOMException;
    expect(error).toMatchObject({ name: "AbortError" });
    expect(isLockLost(error)).toBe(true);
    never.resolve();
  });

  test("a request whose lease ended under its callback rejects with LockLostError", async () => {
    const request = a.request(unique(), { ttl: 50, renew: false }, (lock) => until(() => !lock.held, "it was lost"));
    const error = await rejection(request);
    expect(error).toBeInstanceOf(LockLostError);
    expect(isLockLost(error)).toBe(true);
  });

  test("the callback's own error wins over a lost lease", async () => {
    const mine = new Error("mine");
    const request = a.request(unique(), { ttl: 50, renew: false }, async (lock) => {
      await until(() => !lock.held, "it was lost");
      throw mine;
    });
    expect(await rejection(request)).toBe(mine);
  });

  test("forceRelease takes the lock only from those that were expected", async () => {
    const name = unique();
    await using lock = await a.acquire(name, { ttl: 3_000 });
    expect(await b.forceRelease(name, ["somebody else"])).toEqual([]);
    expect(lock.held).toBe(true);
    const [taken] = await b.forceRelease(name, [lock.token]);
    expect(taken).toMatchObject({ name, token: lock.token });
    await until(() => !lock.held, "the holder was told");
    await lock.release();
    expect(await b.forceRelease(name)).toEqual([]);
  });

  test("query tells who holds: label, mode, token, time left", async () => {
    const name = unique();
    const named = await world.manager({ label: "web1:42:worker" });
    await using lock = await named.acquire(name);
    await until(async () => (await stateOf(b, name)).held[0]?.label, "the label was there");
    const { held } = await b.query({ name });
    expect(held).toMatchObject([{ name, mode: "exclusive", token: lock.token, label: "web1:42:worker" }]);
    expect(held[0]?.remaining).toBeGreaterThan(25_000);
    if (scheme !== "set") expect(held[0]?.fence).toBe(lock.fence);
    const { held: matched } = await b.query({ match: `${name.slice(0, 10)}*` });
    expect(matched.map((each) => each.name)).toContain(name);
  });

  test("close releases what is held, withdraws what waits, and refuses what comes after", async () => {
    const name = unique();
    const manager = await world.manager();
    const holder = await manager.acquire(name);
    const waiter = rejection(manager.acquire(name));
    await manager.close();
    expect((await waiter) as LockError).toMatchObject({ code: "closed" });
    expect(holder.held).toBe(false);
    await (await a.acquire(name)).release();
    expect((await rejection(manager.acquire(name))) as LockError).toMatchObject({ code: "closed" });
    await manager.close();
  });

  test("prefixes keep locks apart", async () => {
    const name = unique();
    const elsewhere = await world.manager({ prefix: "elsewhere:" });
    await using _ = await a.acquire(name);
    await using there = await elsewhere.acquire(name);
    expect(there.held).toBe(true);
    expect((await a.query()).held).toHaveLength(1);
  });

  if (waits)
    test("with turn: 1, waiters of several managers are served in the order they came", async () => {
      const name = unique();
      const [one, two] = [await world.manager({ turn: 1 }), await world.manager({ turn: 1 })];
      const first = await hold(one, name);
      const log: string[] = [];
      const waiters: Promise<void>[] = [];
      for (let i = 0; i < 8; i++) {
        waiters.push(logged(i % 2 ? one : two, name, log, String(i)));
        await until(async () => (await stateOf(one, name)).pending.length === i + 1, `${i + 1} wait`);
      }
      await first.end();
      await Promise.all(waiters);
      expect(log).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
    });

  if (!waits)
    test("waiters of several managers are all served, one at a time, in no promised order", async () => {
      const name = unique();
      const first = await hold(a, name);
      const log: string[] = [];
      const waiters = Array.from({ length: 8 }, (_, i) => logged(i % 2 ? a : b, name, log, String(i)));
      expect(await a.tryAcquire(name)).toBeNull();
      await first.end();
      await Promise.all(waiters);
      expect(log.sort()).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
    });

  if (waits)
    test("shared holders hold together and keep an exclusive request out", async () => {
      const name = unique();
      await using one = await a.acquire(name, { mode: "shared" });
      await using two = await b.acquire(name, { mode: "shared", ttl: 1_000 });
      expect(two.fence).toBeGreaterThan(one.fence);
      expect(await b.tryAcquire(name)).toBeNull();
      expect((await a.query({ name })).held).toHaveLength(2);
    });

  if (waits)
    test("a shared lease that ends leaves the others alone", async () => {
      const name = unique();
      const long = await a.acquire(name, { mode: "shared", ttl: 60_000 });
      const short = await b.acquire(name, { mode: "shared", ttl: 60, renew: false });
      await until(() => !short.held, "the short lease ended");
      await short.release();
      expect(long.held).toBe(true);
      expect(await b.tryAcquire(name)).toBeNull();
      await long.extend(60_000);
      expect((await b.query({ name })).held).toHaveLength(1);
      await long.release();
    });

  if (!waits)
    test("shared mode is refused, and says what to use", async () => {
      const error = await rejection(a.acquire(unique(), { mode: "shared" }));
      expect(error).toBeInstanceOf(LockError);
      expect((error as LockError).code).toBe("unsupported");
      expect((error as LockError).message).toContain('"lua"');
    });
});
