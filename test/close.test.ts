/** What becomes of the running callbacks, the holders and the waiters of a manager that is closed. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { LockLostError, LockManager as Manager } from "../src/index.ts";
import type { CloseOptions, LockError, LockManager } from "../src/index.ts";
import { type Deferred, deferred, rejection, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { schemes, type World } from "./support/worlds.ts";

const CLOSED = { code: "lost", reason: "closed" };

/** A callback that runs until it is ended, under some kind of lock. */
interface Running {
  readonly signal: AbortSignal;
  readonly end: Deferred<string>;
  /** What the request, job or campaign came to. */
  readonly outcome: Promise<unknown>;
}

type Start = (manager: LockManager, name: string) => Promise<Running>;

/** @param run begins the request; its callback gives its signal and waits for the end */
async function running(run: (body: (signal: AbortSignal) => Promise<string>) => Promise<unknown>): Promise<Running> {
  const end = deferred<string>();
  const begun = deferred<AbortSignal>();
  const outcome = run(async (signal) => {
    begun.resolve(signal);
    return end.promise;
  });
  outcome.catch(() => {});
  return { signal: await begun.promise, end, outcome };
}

const kinds: Record<string, Start> = {
  "a request": (manager, name) => running((body) => manager.request(name, ({ signal }) => body(signal))),
  "a request for several names": (manager, name) =>
    running((body) => manager.request([name, `${name} too`], ({ signal }) => body(signal))),
  "a reentrant request": (manager, name) =>
    running((body) => manager.request(name, { reentrant: true }, ({ signal }) => body(signal))),
  "a job of once": (manager, name) =>
    running((body) => manager.once(name, { atMost: 60_000 }, ({ signal }) => body(signal))),
};

const permits: Start = (manager, name) =>
  running((body) => manager.semaphore(name, 2).request({ permits: 2 }, ({ signal }) => body(signal)));

const term: Start = (manager, name) =>
  running(async (body) => {
    for await (const { signal } of manager.elect(name)) return await body(signal);
    return undefined;
  });

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let other: LockManager;

  beforeAll(async () => {
    world = await open();
    other = await world.manager();
  });
  afterAll(() => world.close());
  afterEach(async () => {
    await until(async () => (await other.query()).held.length === 0, "nothing is held");
  });

  async function isHeld(name: string): Promise<boolean> {
    return (await other.query({ name })).held.length > 0;
  }

  const holds = {
    ...kinds,
    "a leader's term": term,
    ...(scheme === "set" ? {} : { "a request for permits": permits }),
  };

  describe.each(Object.entries(holds))("%s whose callback runs", (_, start) => {
    async function closing(options?: CloseOptions): Promise<Running & { name: string; closed: Promise<void> }> {
      const manager = await world.manager();
      const name = unique();
      const run = await start(manager, name);
      return { ...run, name, closed: manager.close(options) };
    }

    test("is notified at once, and keeps the lock until its callback has ended", async () => {
      const { name, signal, end, outcome, closed } = await closing();
      expect([signal.aborted, signal.reason]).toMatchObject([true, CLOSED]);
      expect(signal.reason).toBeInstanceOf(LockLostError);
      expect(await isHeld(name)).toBe(true);
      end.resolve("done");
      expect(JSON.stringify(await outcome)).toContain("done");
      await closed;
      expect(await isHeld(name)).toBe(false);
    });

    test.each([{ timeout: 0 }, { timeout: 20 }])("loses it after close(%o), and is notified", async (options) => {
      const { name, end, outcome, closed } = await closing(options);
      await closed;
      expect(await isHeld(name)).toBe(false);
      end.resolve("too late");
      // A campaign is not a request: it ends, and its body was told by its signal.
      if (start !== term) expect(await rejection(outcome)).toMatchObject(CLOSED);
    });
  });

  test("a lock that no callback holds is lost at once, and its signal says so", async () => {
    const manager = await world.manager();
    const lock = await manager.acquire(unique());
    const { signal } = lock;
    const closed = manager.close();
    expect([lock.held, signal.aborted, signal.reason]).toMatchObject([false, true, CLOSED]);
    await closed;
    expect(await isHeld(lock.name)).toBe(false);
    expect(await lock.release()).toBe(false);
  });

  test("those that wait are refused at once, though a callback still runs", async () => {
    const manager = await world.manager();
    const run = await kinds["a request"]!(manager, unique());
    const name = unique();
    const held = await other.acquire(name);
    const waiting = rejection(manager.acquire(name));
    const closed = manager.close();
    expect((await waiting) as LockError).toMatchObject({ code: "closed" });
    expect((await rejection(manager.acquire(name))) as LockError).toMatchObject({ code: "closed" });
    run.end.resolve("");
    await closed;
    await held.release();
  });

  test.each([{ timeout: -1 }, { timeout: "1s" }, { time: 1 }, 5])(
    "close(%o) is refused, and nothing is closed",
    async (bad) => {
      const manager = await world.manager();
      const name = unique();
      const lock = await manager.acquire(name);
      expect(() => manager.close(bad as object)).toThrow(/timeout|options/);
      expect(lock.held).toBe(true);
      await lock.release();
    },
  );
});

describe("requests that are out when close() is called", () => {
  let server: Server;
  let redis: Redis;
  beforeAll(async () => {
    server = await startServer();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  const ask: Record<string, (locks: LockManager, name: string) => Promise<unknown>[]> = {
    "one acquire": (locks, name) => [locks.acquire(name)],
    "two of them": (locks, name) => [locks.acquire(name), locks.acquire(name)],
    "tryAcquire, then acquire": (locks, name) => [locks.tryAcquire(name), locks.acquire(name)],
    "acquire, then tryAcquire": (locks, name) => [locks.acquire(name), locks.tryAcquire(name)],
    "acquire, then steal": (locks, name) => [locks.acquire(name), locks.acquire(name, { steal: true })],
    "shared, then exclusive": (locks, name) => [locks.acquire(name, { mode: "shared" }), locks.acquire(name)],
    "two ttls": (locks, name) => [locks.acquire(name, { ttl: 1_000 }), locks.acquire(name, { ttl: 2_000 })],
    "two requests for permits": (locks, name) => {
      const semaphore = locks.semaphore(name, 1);
      return [semaphore.acquire(), semaphore.acquire()];
    },
    "requests whose callbacks are empty": (locks, name) => [1, 2, 3].map(() => locks.request(name, () => {})),
  };
  const moments: Record<string, () => Promise<unknown>> = {
    "in the same turn": () => Promise.resolve(),
    "a turn of the event loop later": () => new Promise((resolve) => setImmediate(resolve)),
  };
  const cases = Object.keys(ask).flatMap((what) =>
    Object.keys(moments).flatMap((when) => [1, 16].map((turn) => ({ what, when, turn }))),
  );

  test.each(cases)("leave nothing: $what, closed $when, turn $turn", async ({ what, when, turn }) => {
    for (const isWarm of [false, true]) {
      const name = unique();
      const locks = new Manager(server.url, { turn });
      if (isWarm) await locks.query({ name });
      const asked = Promise.allSettled(ask[what]!(locks, name));
      await moments[when]!();
      await locks.close();
      await asked;
      await until(async () => (await redis.keys(`*${name}*`)).length === 0, "nothing is left of the lock");
    }
  });
});
