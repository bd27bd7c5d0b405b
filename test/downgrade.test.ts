/** From exclusive to shared without letting another writer in between. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockLostError, type LockError, type LockManager } from "../src/index.ts";
import { rejection, stateOf, unique } from "./support/locks.ts";
import { cleared, openStage } from "./support/stage.ts";
import { until, untilRisen } from "./support/until.ts";
import { type World, queueing, queueless } from "./support/worlds.ts";

describe.each(queueing)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;

  beforeAll(async () => {
    world = await open();
    a = await world.manager();
    b = await world.manager();
  });
  afterAll(() => world.close());

  async function pending(name: string, count: number): Promise<void> {
    await until(async () => (await stateOf(b, name)).pending.length === count, `${count} waited`);
  }

  test("readers at the head are let in, the writer behind them is not, and the fence stays", async () => {
    const name = unique();
    const lock = await a.acquire(name, { label: "the writer" });
    const { fence, token } = lock;
    const reader = b.acquire(name, { mode: "shared", label: "reads" });
    await pending(name, 1);
    const writer = b.acquire(name);
    await pending(name, 2);
    await lock.downgrade();
    const reading = await reader;
    expect([lock.mode, lock.fence, lock.token, lock.held]).toEqual(["shared", fence, token, true]);
    expect(reading.fence).toBeGreaterThan(fence);
    const { held, pending: waiting } = await stateOf(b, name);
    expect(held).toHaveLength(2);
    expect(held.find((each) => each.token === token)).toMatchObject({ mode: "shared", fence, label: "the writer" });
    expect(waiting).toHaveLength(1);
    expect(await lock.release()).toBe(true);
    expect(await reading.release()).toBe(true);
    await (await writer).release();
  });

  test("a writer at the head keeps readers out, and is served when the downgraded lock is released", async () => {
    const name = unique();
    const lock = await a.acquire(name);
    const writer = b.acquire(name);
    await pending(name, 1);
    await lock.downgrade();
    expect(await b.tryAcquire(name, { mode: "shared" })).toBeNull();
    expect(lock.held).toBe(true);
    await lock.release();
    const next = await writer;
    expect([next.mode, next.fence > lock.fence]).toEqual(["exclusive", true]);
    await next.release();
  });

  test("the rest of the lease is kept, and it is renewed and extended as before", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 2_400 });
    await lock.downgrade();
    await using _ = await b.acquire(name, { mode: "shared" });
    await untilRisen(() => lock.remaining, "it was renewed");
    expect(lock.held).toBe(true);
    await lock.extend(60_000);
    const mine = (await stateOf(b, name)).held.find(({ token }) => token === lock.token);
    expect(mine?.remaining).toBeGreaterThan(50_000);
    expect(await lock.release()).toBe(true);
  });

  test.skipIf(scheme === "redlock")("of a permit does nothing", async () => {
    await using permit = await a.semaphore(unique(), 2).acquire();
    await permit.downgrade();
    expect([permit.mode, permit.held]).toEqual(["shared", true]);
  });

  test("of a shared lock does nothing, and again does nothing", async () => {
    const name = unique();
    await using shared = await a.acquire(name, { mode: "shared" });
    await shared.downgrade();
    await using lock = await a.acquire(unique());
    await lock.downgrade();
    await lock.downgrade();
    for (const each of [shared, lock]) expect([each.mode, each.held]).toEqual(["shared", true]);
  });

  test("of a lock that is lost rejects with LockLostError, and the new holder stays alone", async () => {
    const name = unique();
    const lock = await a.acquire(name, { ttl: 60_000 });
    await using thief = await b.acquire(name, { steal: true });
    expect(await rejection(lock.downgrade())).toBeInstanceOf(LockLostError);
    expect(lock.mode).toBe("exclusive");
    expect([thief.held, await a.tryAcquire(name, { mode: "shared" })]).toEqual([true, null]);
    await lock.release();
    expect(await rejection(lock.downgrade())).toBeInstanceOf(LockLostError);
  });
});

test.for(queueless)("is refused where no lock is shared ($title), and the lock stays held", async (place, t) => {
  const world = await place.open();
  t.onTestFinished(() => world.close());
  const locks = await world.manager();
  await using lock = await locks.acquire(unique());
  const error = (await rejection(lock.downgrade())) as LockError;
  expect([error.code, error.message]).toEqual([
    "unsupported",
    `The scheme "${place.scheme}" has no shared locks to downgrade to. Use the scheme "lua". (holdfast/docs/troubleshooting.md#unsupported)`,
  ]);
  expect([lock.held, lock.mode]).toEqual([true, "exclusive"]);
});

test("a lock that goes from hand to hand in a process goes no further", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager(), await stage.manager()];
  const name = unique();
  const first = await b.acquire(name);
  const writers = Array.from({ length: 3 }, () => a.acquire(name));
  await until(async () => (await b.query({ name })).pending.length === 3, "three waited at one place");
  await first.release();
  await (await writers[0])?.release();
  const second = await writers[1];
  await second?.downgrade();
  await second?.extend(40_000);
  expect(await second?.release()).toBe(true);
  const third = await writers[2];
  expect(third?.fence).toBeGreaterThan(second?.fence ?? Infinity);
  // It was granted anew, for what was shared cannot be handed to a writer.
  expect((await b.query({ name })).held).toMatchObject([{ mode: "exclusive" }]);
  await third?.release();
  await cleared(stage.redis);
});

test("a reader of another process and one of the own are let in together, past no writer", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager(), await stage.manager()];
  const name = unique();
  const first = await b.acquire(name);
  const writers = [a.acquire(name), a.acquire(name)];
  await until(async () => (await b.query({ name })).pending.length === 2, "two waited at one place");
  await first.release();
  await (await writers[0])?.release();
  const writer = await writers[1];
  const readers = [b.acquire(name, { mode: "shared" }), a.acquire(name, { mode: "shared" })];
  await until(async () => (await b.query({ name })).pending.length === 2, "two readers waited");
  await writer?.downgrade();
  const reading = await Promise.all(readers);
  expect([writer?.held, ...reading.map(({ held }) => held)]).toEqual([true, true, true]);
  expect(await b.tryAcquire(name)).toBeNull();
  await Promise.all([writer, ...reading].map((each) => each?.release()));
  await cleared(stage.redis);
});
