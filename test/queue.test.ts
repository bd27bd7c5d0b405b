/** What a request that waits is told, and how long a line it puts up with. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Lock, type LockError, type LockManager, QueueFullError, type Wait } from "../src/index.ts";
import { checkRequest } from "../src/options/request.ts";
import { TestLocks } from "../src/testing.ts";
import { lockKeys } from "../src/schemes/keys.ts";
import { hold, rejection, stateOf, unique } from "./support/locks.ts";
import { participant, PROCESSES } from "./support/processes.ts";
import { cleared, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
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

  test("onWait tells the position and the holder, and again when the position changes", async () => {
    const name = unique();
    const held = await hold(a, name, { label: "web7" });
    const news: Wait[][] = [[], [], []];
    const waiting: Promise<Lock>[] = [];
    for (const [i, each] of news.entries()) {
      waiting.push((i % 2 ? a : b).acquire(name, { onWait: (wait) => each.push(wait) }));
      await pending(name, i + 1);
    }
    const holder = { token: held.lock.token, label: "web7" };
    expect(news).toEqual([[{ position: 1, holder }], [{ position: 2, holder }], [{ position: 3, holder }]]);
    await held.end();
    const first = await waiting[0];
    await until(() => news[1]?.at(-1)?.position === 1, "the second was told that it is the first in line");
    expect(news[0]).toHaveLength(1);
    await first?.release();
    for (const each of waiting.slice(1)) await (await each).release();
  });

  test("onWait is not called where there is no wait", async () => {
    let told = 0;
    const lock = await a.acquire(unique(), { onWait: () => void told++ });
    await lock.release();
    expect(told).toBe(0);
  });

  test("what onWait throws ends the wait, and nothing is left in line", async () => {
    const name = unique();
    const held = await hold(a, name);
    const mine = new Error("mine");
    const onWait = (): void => {
      throw mine;
    };
    expect(await rejection(b.acquire(name, { onWait }))).toBe(mine);
    await pending(name, 0);
    await held.end();
  });

  test("what onWait rejects with ends the wait too, and nothing is left in line", async () => {
    const name = unique();
    const held = await hold(a, name);
    const mine = new Error("mine");
    const onWait = (() => Promise.reject(mine)) as () => void;
    expect(await rejection(b.acquire(name, { onWait }))).toBe(mine);
    await pending(name, 0);
    await held.end();
  });

  test("maxQueue lets that many wait and no more, and leaves nothing behind", async () => {
    const name = unique();
    const held = await hold(a, name);
    const error = (await rejection(a.acquire(name, { maxQueue: 0 }))) as LockError;
    expect(error).toBeInstanceOf(QueueFullError);
    expect([error.code, error.message]).toEqual([
      "queue-full",
      `Too many requests are already waiting for "${name}" (maxQueue: 0). Try again later, or raise maxQueue. (holdfast/docs/troubleshooting.md#queue-full)`,
    ]);
    const first = b.acquire(name, { maxQueue: 1 });
    await pending(name, 1);
    expect(await rejection(a.acquire(name, { maxQueue: 1 }))).toBeInstanceOf(QueueFullError);
    const second = a.acquire(name, { maxQueue: 2 });
    await pending(name, 2);
    expect((await stateOf(b, name)).pending).toHaveLength(2);
    await held.end();
    await (await first).release();
    await (await second).release();
  });

  // Each of several servers counts its own queue.
  test.skipIf(scheme === "redlock")("of many that ask at once exactly that many wait", async () => {
    const name = unique();
    const held = await hold(a, name);
    const asks = Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? a : b)
        .request(name, { maxQueue: 5 }, () => "served")
        .catch((error: unknown) => (error as LockError).code),
    );
    await pending(name, 5);
    await until(async () => (await Promise.race([...asks, undefined])) === "queue-full", "some were refused");
    await held.end();
    const outcomes = await Promise.all(asks);
    expect(outcomes.filter((each) => each === "served")).toHaveLength(5);
    expect(outcomes.filter((each) => each === "queue-full")).toHaveLength(15);
  });

  test.skipIf(scheme === "redlock")("maxQueue of a semaphore counts those who wait for permits", async () => {
    const semaphore = a.semaphore(unique(), 2);
    const held = await semaphore.acquire({ permits: 2, maxQueue: 0 });
    const next = semaphore.acquire({ maxQueue: 1 });
    await pending(semaphore.name, 1);
    expect(await rejection(semaphore.acquire({ maxQueue: 1 }))).toBeInstanceOf(QueueFullError);
    await held.release();
    await (await next).release();
  });
});

test("whoever becomes the first in line is told at once, not with the next question", async () => {
  const locks = new TestLocks().manager();
  const held = await hold(locks, "a");
  const first = locks.acquire("a");
  const news: Wait[] = [];
  const second = locks.acquire("a", { onWait: (wait) => news.push(wait) });
  await until(() => news.length === 1, "it was told that it waits");
  await held.end();
  const lock = await first;
  expect(news.map(({ position }) => position)).toEqual([2, 1]);
  await lock.release();
  await (await second).release();
});

test("those of another process who share a place are counted each", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager(), await stage.manager()];
  const name = unique();
  const held = await hold(b, name);
  const waiting = Array.from({ length: 3 }, () => a.request(name, () => {}));
  await until(async () => (await b.query({ name })).pending.length === 3, "three waited at one place");
  expect(await rejection(b.acquire(name, { maxQueue: 3 }))).toBeInstanceOf(QueueFullError);
  const last = b.acquire(name, { maxQueue: 4 });
  await until(async () => (await b.query({ name })).pending.length === 4, "the fourth waited");
  await held.end();
  await Promise.all([...waiting, last.then((lock) => lock.release())]);
  await cleared(stage.redis);
});

test("the dead are not counted", PROCESSES, async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  const name = unique();
  const held = await hold(locks, name);
  const front = locks.acquire(name);
  const doomed = await participant(t, stage.server.url);
  await until(async () => (await locks.query({ name })).pending.length === 1, "the first waited");
  await doomed.tell("enqueue", name);
  await until(async () => (await locks.query({ name })).pending.length === 2, "the doomed one waited");
  // Whoever does not listen yet is believed to live until it has not asked for long.
  const records = async (): Promise<string[]> => stage.redis.hvals(lockKeys("lock:", name)[3]);
  const listen = async (): Promise<boolean> => (await records()).every((record) => record.split(" ")[3] !== "0");
  await until(listen, "both listened for pushes");
  await doomed.kill();
  const letIn = async (): Promise<boolean> => {
    const abort = new AbortController();
    const options = { maxQueue: 2, signal: abort.signal, onWait: () => abort.abort() };
    return !((await rejection(locks.acquire(name, options))) instanceof QueueFullError);
  };
  await until(letIn, "another was let in line");
  await held.end();
  await (await front).release();
  await cleared(stage.redis);
});

test.for(queueless)(
  "where there is no queue ($title) maxQueue is refused, and onWait knows no position",
  async (place, t) => {
    const world = await place.open();
    t.onTestFinished(() => world.close());
    const locks = await world.manager();
    const name = unique();
    const error = (await rejection(locks.acquire(name, { maxQueue: 3 }))) as LockError;
    expect([error.code, error.message]).toEqual([
      "unsupported",
      `The scheme "${place.scheme}" has no queue, so no maxQueue. Use the scheme "lua". (holdfast/docs/troubleshooting.md#unsupported)`,
    ]);
    const held = await hold(locks, name);
    const news: Wait[] = [];
    const waiter = locks.acquire(name, { onWait: (wait) => news.push(wait) });
    await until(() => news.length > 0, "it was told that it waits");
    await held.end();
    await (await waiter).release();
    expect(news).toEqual([{ position: undefined, holder: undefined }]);
  },
);

describe("bad input", () => {
  test.each([
    [{ maxQueue: -1 }, RangeError, "maxQueue to be from 0 to 10000; got -1"],
    [{ maxQueue: 10_001 }, RangeError, "maxQueue to be from 0 to 10000; got 10001"],
    [{ maxQueue: 0.5 }, TypeError, "maxQueue to be a whole number; got 0.5"],
    [{ maxQueue: "3" }, TypeError, 'maxQueue to be a whole number; got "3"'],
    [{ onWait: "tell me" }, TypeError, 'onWait to be a function; got "tell me"'],
    [{ onWait: null }, TypeError, "onWait to be a function; got null"],
    [{ maxQueue: 3, ifAvailable: true }, TypeError, "ifAvailable never waits, so it cannot take maxQueue"],
    [{ onWait: () => {}, steal: true }, TypeError, "steal never waits, so it cannot take onWait"],
  ])("%o is refused", (options, kind, says) => {
    const check = (): unknown => checkRequest("a", options, { ttl: 1_000 }, "request");
    expect(check).toThrow(kind);
    expect(check).toThrow(says);
  });

  test("tryAcquire without waitTimeout takes neither", async () => {
    const error = await rejection(new TestLocks().manager().tryAcquire("a", { maxQueue: 1 }));
    expect((error as Error).message).toBe("tryAcquire() without waitTimeout never waits, so it cannot take maxQueue.");
  });
});
