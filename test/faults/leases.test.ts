/** What a holder is told when its process, its line or its server stops, and what it leaves behind. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { LockLostError, SchemeError } from "../../src/index.ts";
import { deferred, hold, rejection, unique } from "../support/locks.ts";
import { PROCESSES, participant } from "../support/processes.ts";
import {
  type Finishing,
  type Stage,
  cleared,
  leftovers,
  openStage,
  scriptCalls,
  unhandledRejections,
} from "../support/stage.ts";
import { until, untilRisen } from "../support/until.ts";
import { clientNames, sendsAhead } from "../support/worlds.ts";

const schemes = ["lua", "set"] as const;
const everywhere = schemes.flatMap((scheme) => clientNames.map((on) => ({ scheme, on })));

interface Trouble {
  readonly name: string;
  readonly operation: string;
  readonly error: SchemeError;
}

/** What went wrong with one lock, from now on. */
function troubles(t: Finishing, name: string): Trouble[] {
  const seen: Trouble[] = [];
  const see = (message: unknown): void => {
    if ((message as Trouble).name === name) seen.push(message as Trouble);
  };
  subscribe("holdfast:trouble", see);
  t.onTestFinished(() => void unsubscribe("holdfast:trouble", see));
  return seen;
}

function block(duration: number): void {
  const end = performance.now() + duration;
  while (performance.now() < end);
}

/** The server refuses to write from now on, and keeps what it has. */
async function refuseWrites(stage: Stage): Promise<void> {
  await stage.redis.replicaof("127.0.0.1", "1");
}

async function takeWrites(stage: Stage): Promise<void> {
  await stage.redis.replicaof("NO", "ONE");
}

describe("a holder whose process stopped past its lease", () => {
  test.for([
    { scheme: "lua", on: "ioredis 6" },
    { scheme: "set", on: "node-redis 6" },
  ] as const)(
    "knows it in the very turn in which it goes on, and does its successor no harm ($scheme on $on)",
    PROCESSES,
    async ({ scheme, on }, t) => {
      const stage = await openStage(t);
      const name = unique();
      const library = on === "node-redis 6" ? "node-redis" : "ioredis";
      const stopped = await participant(t, stage.server.url, { scheme, ttl: 400, on: library });
      const before = await stopped.acquire(name);
      const thawed = join(stage.server.dir, "thawed");
      expect(await stopped.tell("spin", thawed)).toBe("spinning");
      stopped.freeze();
      const locks = await stage.manager({ on, scheme });
      const next = await locks.acquire(name);
      expect(next.fence).toBeGreaterThan(before.fence!);
      await writeFile(thawed, "");
      stopped.thaw();
      expect(await stopped.said()).toMatchObject({ held: false, fence: before.fence });
      expect(await stopped.tell("release")).toEqual({ released: false });
      expect(next.held).toBe(true);
      expect(await stage.redis.get(`lock:${name}`)).toContain(next.token);
      expect(await next.release()).toBe(true);
    },
  );

  test.for(schemes)("sees it at once when its event loop was blocked (%s)", async (scheme, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ scheme });
    const lock = await locks.acquire(unique(), { ttl: 100 });
    const { signal } = lock;
    block(100);
    expect(lock.held).toBe(false);
    expect(lock.remaining).toBe(0);
    expect(signal.aborted).toBe(true);
    expect((signal.reason as LockLostError).code).toBe("lost");
    expect(await rejection(lock.extend())).toBe(signal.reason);
    expect(await lock.release()).toBe(false);
  });

  test("is not taken in by a clock that jumps", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const lock = await locks.acquire(unique(), { ttl: 10_000 });
    const real = Date.now.bind(Date);
    const jumped = vi.spyOn(Date, "now").mockImplementation(() => real() + 3_600_000);
    t.onTestFinished(() => jumped.mockRestore());
    expect(lock.held).toBe(true);
    await lock.extend();
    expect(lock.remaining).toBeLessThanOrEqual(10_000);
    expect(await lock.release()).toBe(true);
  });
});

describe.concurrent("a holder whose server does not answer", () => {
  test.for(everywhere)("is told at its own deadline, while the renewal hangs ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const locks = await stage.manager(kind);
    const name = unique();
    const end = deferred();
    // Long enough that a machine that stands still for half a second does not look like the cause.
    const request = locks.request(name, { ttl: 4_000 }, async (lock) => {
      stage.server.freeze();
      const { signal } = lock;
      // Before a renewal that is not answered fails: 5 s after a third of the ttl.
      await until(() => signal.aborted, "the signal was aborted", 6_000);
      expect(lock.held).toBe(false);
      expect((signal.reason as LockLostError).reason).toBe("unreachable");
      stage.server.thaw();
      await end.promise;
    });
    const refused = rejection(request);
    end.resolve();
    expect(await refused).toMatchObject({ code: "lost", reason: "unreachable" });
    await cleared(stage.redis);
    expect(rejections).toEqual([]);
  });

  test.for(everywhere)("keeps the lock through renewals that fail ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const name = unique();
    const locks = await stage.manager(kind);
    const seen = troubles(t, name);
    const lock = await locks.acquire(name, { ttl: 4_500 });
    const { signal } = lock;
    const before = await scriptCalls(stage.redis);
    await refuseWrites(stage);
    await until(() => seen.length >= 2, "two renewals had failed");
    expect(seen[0]).toMatchObject({ operation: "renew", error: { code: "read-only" } });
    expect(await scriptCalls(stage.redis)).toBeLessThan(before + 8);
    expect(lock.held).toBe(true);
    await takeWrites(stage);
    await untilRisen(() => lock.remaining, "the lease had been renewed");
    expect(signal.aborted).toBe(false);
    expect(await lock.release()).toBe(true);
  });

  test.for(clientNames)("keeps the lock through a short outage of its line (%s)", async (on, t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const name = unique();
    const locks = await stage.manager({ on, url: proxy.url });
    const lock = await locks.acquire(name, { ttl: 6_000 });
    const { signal } = lock;
    await proxy.refuse();
    await until(() => lock.remaining < 3_800, "a renewal had been due");
    await proxy.heal();
    await until(() => lock.remaining > 4_000, "the lease had been renewed");
    expect(signal.aborted).toBe(false);
    expect(await lock.release()).toBe(true);
    await cleared(stage.redis);
  });

  test("has its callback's own error when the release cannot be heard", async (t) => {
    const stage = await openStage(t);
    const mine = new Error("mine");
    const locks = await stage.manager();
    const request = locks.request(unique(), async () => {
      stage.server.freeze();
      throw mine;
    });
    expect(await rejection(request)).toBe(mine);
  });

  test("has its callback's result when the release cannot be heard, and it is heard later", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const request = locks.request(unique(), () => {
      stage.server.freeze();
      return "done";
    });
    expect(await request).toBe("done");
    stage.server.thaw();
    await cleared(stage.redis);
  });
});

describe.concurrent("a lease on a slow line", () => {
  test.for(everywhere)("is refused when it is over before its answer comes ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    // GLIDE gives a command up after 250 ms, unless told not to.
    const locks = await stage.manager({ ...kind, url: proxy.url, settings: { requestTimeout: 5_000 } });
    const name = unique();
    await (await locks.acquire(name)).release();
    proxy.delay(150);
    const error = (await rejection(locks.acquire(name, { ttl: 200 }))) as SchemeError;
    expect(error).toMatchObject({ name: "SchemeError", code: "too-slow" });
    expect(error.message).toContain("Use a longer ttl");
    await cleared(stage.redis);
  });

  test.for(everywhere)("that is released while its renewal is out leaves nothing ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const locks = await stage.manager({ ...kind, url: proxy.url });
    const name = unique();
    // Once over the line as it is, so that what is made only once is there.
    await (await locks.acquire(name)).release();
    const lock = await locks.acquire(name, { ttl: 3_000 });
    const { signal } = lock;
    proxy.delay(100);
    const extended = lock.extend(60_000).catch(() => {});
    const released = lock.release();
    await Promise.all([extended, released]);
    await cleared(stage.redis);
    expect(await released).toBe(true);
    expect(signal.aborted).toBe(false);
  });

  test("of the shortest ttl is not renewed without a pause", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const before = await scriptCalls(stage.redis);
    const started = performance.now();
    const lock = await locks.acquire(unique(), { ttl: 50 });
    await until(() => !lock.held || performance.now() > started + 500, "ten leases' time had passed");
    await lock.release();
    const took = performance.now() - started;
    // A third of the ttl is 17 ms; a renewal that never pauses makes hundreds.
    expect((await scriptCalls(stage.redis)) - before).toBeLessThan(5 + took / 10);
  });
});

describe.concurrent("an acquire that was given up while the server did not answer", () => {
  test.for(everywhere.filter(sendsAhead))(
    "ends at its timeout, and nothing is left when the server goes on ($scheme on $on)",
    async (kind, t) => {
      const stage = await openStage(t);
      const rejections = unhandledRejections(t);
      const locks = await stage.manager(kind);
      const name = unique();
      const abort = new AbortController();
      // Once before, so that what is asked only once is known.
      await (await locks.acquire(unique())).release();
      stage.server.freeze();
      const timed = rejection(locks.acquire(name, { waitTimeout: 100 }));
      const aborted = rejection(locks.acquire(name, { signal: abort.signal }));
      const held = hold(locks, unique(), { waitTimeout: 120 }).catch((error: unknown) => error);
      expect(await timed).toMatchObject({ code: "timeout" });
      abort.abort("enough");
      expect(await aborted).toBe("enough");
      expect(await held).toBeInstanceOf(Error);
      stage.server.thaw();
      await until(async () => (await stage.redis.ping()) === "PONG", "the server went on");
      await cleared(stage.redis, 3_000);
      const free = await locks.tryAcquire(name);
      expect(free?.held).toBe(true);
      await free?.release();
      expect(await leftovers(stage.redis)).toEqual([]);
      expect(rejections).toEqual([]);
    },
  );
});
