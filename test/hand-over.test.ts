/** Locks that go from one process to another, on every scheme and client library. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockError, LockLostError } from "../src/index.ts";
import type { DetachedLock, LockManager } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { enqueue, isFree, rejection, stateOf, unique } from "./support/locks.ts";
import { PROCESSES, participant } from "./support/processes.ts";
import { openStage } from "./support/stage.ts";
import { until, untilRisen } from "./support/until.ts";
import { type World, places } from "./support/worlds.ts";

/** As it arrives after a journey. */
function sent(detached: DetachedLock): DetachedLock {
  return JSON.parse(JSON.stringify(detached)) as DetachedLock;
}

describe.each(places)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;
  let c: LockManager;

  beforeAll(async () => {
    world = await open();
    [a, b, c] = [await world.manager(), await world.manager(), await world.manager()];
  });
  afterAll(() => world.close());

  test("a detached lock is not held here, stays taken, and is held where it is attached", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 20_000 });
    const detached = sent(await lock.detach());
    expect(detached).toMatchObject({ name, mode: "exclusive", token: lock.token, fence: lock.fence, ttl: 20_000 });
    expect(detached.remaining).toBeGreaterThan(15_000);
    expect([lock.held, lock.remaining, lock.signal.aborted]).toEqual([false, 0, false]);
    expect(await lock.release()).toBe(false);
    expect(await isFree(c, name)).toBe(false);

    const attached = await b.attach(detached, { ttl: 60_000, label: "heir" });
    expect(attached.fence).toBeGreaterThan(lock.fence);
    expect(attached.token).not.toBe(lock.token);
    expect(attached.remaining).toBeGreaterThan(50_000);
    expect((await stateOf(c, name)).held).toMatchObject([{ token: attached.token }]);
    expect(await isFree(c, name)).toBe(false);
    expect(await attached.release()).toBe(true);
    expect(await isFree(c, name)).toBe(true);
  });

  test("of many that attach the same at once one succeeds, and the others are told why not", async () => {
    const detached = await (await a.acquire(unique())).detach();
    const tries = [a, b, c, a].map((locks) => locks.attach(detached).catch((error: unknown) => error));
    const results = await Promise.all(tries);
    const errors = results.filter((each) => each instanceof LockError);
    expect(errors).toHaveLength(3);
    for (const error of errors) expect(error).toMatchObject({ code: "gone" });
    expect(errors[0]?.message).toContain("attached already");
    await (results.find((each) => !(each instanceof Error)) as AsyncDisposable)[Symbol.asyncDispose]();
  });

  test("an attached lock is renewed, and can be detached again", async () => {
    const name = unique();
    const first = await b.attach(await (await a.acquire(name, { ttl: 2_400 })).detach());
    await untilRisen(() => first.remaining, "it was renewed");
    expect(first.held).toBe(true);
    await using second = await c.attach(await first.detach());
    expect(second.held).toBe(true);
  });

  test("nobody renews a detached lock: it frees itself, and can be attached no more", async () => {
    const name = unique();
    const detached = await (await a.acquire(name, { ttl: 300 })).detach();
    await until(() => isFree(b, name), "it freed itself");
    expect(await rejection(b.attach(detached))).toMatchObject({ code: "gone" });
  });

  test("close() leaves a detached lock alone, and so does the end of the request that it came from", async () => {
    const name = unique();
    const manager = await world.manager();
    const detached = await manager.request(name, (lock) => lock.detach());
    await manager.close();
    expect(await isFree(c, name)).toBe(false);
    await (await b.attach(detached)).release();
  });

  test("a stolen lock cannot be attached, and the thief keeps it", async () => {
    const name = unique();
    const detached = await (await a.acquire(name)).detach();
    await using thief = await b.acquire(name, { steal: true });
    expect(await rejection(c.attach(detached))).toMatchObject({ code: "gone" });
    await thief.extend();
    expect(thief.held).toBe(true);
  });

  test("a lost or released lock cannot be detached", async () => {
    const lost = await a.acquire(unique(), { ttl: 50, renew: false });
    await until(() => !lost.held, "the lease ended");
    expect(await rejection(lost.detach())).toBeInstanceOf(LockLostError);
    const released = await a.acquire(unique());
    await released.release();
    expect(await rejection(released.detach())).toMatchObject({ code: "released" });
  });

  test("a part of a reentrant lock cannot be detached, and stays held", async () => {
    await a.request(unique(), { reentrant: true }, async (lock) => {
      expect(await rejection(lock.detach())).toMatchObject({ code: "unsupported" });
      expect(lock.held).toBe(true);
    });
  });

  test("whoever waits is served when the lock is released where it was attached", async () => {
    const name = unique();
    const lock = await a.acquire(name);
    const waiter = enqueue(c, name);
    if (scheme !== "set") await until(async () => (await stateOf(c, name)).pending.length === 1, "one waited");
    await (await b.attach(await lock.detach())).release();
    await waiter.granted;
    await waiter.end();
  });

  if (scheme !== "set")
    test("a shared lock goes over alone; the other holders stay", async () => {
      const name = unique();
      await using other = await c.acquire(name, { mode: "shared" });
      await using attached = await b.attach(await (await a.acquire(name, { mode: "shared" })).detach());
      expect([attached.mode, attached.held, other.held]).toEqual(["shared", true, true]);
      expect((await stateOf(a, name)).held).toHaveLength(2);
    });
});

test(
  "a lock outlives the process that detached it, in one that attached it",
  async (t) => {
    const stage = await openStage(t);
    const first = await participant(t, stage.server.url);
    const { fence } = await first.acquire("job", { ttl: 60_000 });
    const detached = (await first.tell("detach")) as DetachedLock;
    const second = await participant(t, stage.server.url);
    const attached = (await second.tell("attach", detached)) as { held: boolean; fence: number };
    await first.kill();
    expect(attached.held).toBe(true);
    expect(attached.fence).toBeGreaterThan(fence ?? Infinity);
    expect(await second.tell("release")).toEqual({ released: true });
  },
  PROCESSES.timeout,
);

describe("refused before anything is sent", () => {
  const locks = new TestLocks().manager();
  const good = {
    name: "a",
    mode: "exclusive",
    token: `${"x".repeat(22)}:1`,
    fence: 5,
    ttl: 1_000,
    remaining: 900,
  } as const;
  test.each([
    [undefined, {}, TypeError, "Expected a detached lock with token and fence, as detach() gives it; got undefined."],
    ["a", {}, TypeError, 'Expected the detached lock to be an object; got "a".'],
    [{ ...good, token: "x" }, {}, TypeError, "Expected a detached lock with token and fence"],
    [{ ...good, fence: "5" }, {}, TypeError, "Expected a detached lock with token and fence"],
    [{ ...good, name: 5 }, {}, TypeError, "Expected the lock's name to be a string; got 5."],
    [{ ...good, mode: "own" }, {}, TypeError, 'Expected mode to be "exclusive" or "shared"; got "own".'],
    [{ ...good, ttl: 5 }, {}, RangeError, "Expected the detached lock's ttl to be a whole number of at least 50"],
    [good, { steal: true }, TypeError, 'Unknown option "steal"'],
  ])("%j, %j", async (detached, options, kind, message) => {
    const error = await rejection(Reflect.apply(locks.attach, locks, [detached, options]));
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toContain(message);
  });
});
