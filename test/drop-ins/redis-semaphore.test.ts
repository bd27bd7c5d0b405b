/** The drop-in for redis-semaphore beside the true one, and where it does better. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import * as published from "redis-semaphore";
import { describe, expect, test } from "vitest";
import * as ours from "../../src/redis-semaphore.ts";
import { until, untilRisen } from "../support/until.ts";
import { openMachines, rejection } from "./stage.ts";

const quick = { acquireTimeout: 50, retryInterval: 10 };
const hour = 3_600_000;

type Library = typeof ours;

/** How each kind is made; `size` of it exclude one more. */
const kinds: [
  title: string,
  servers: number,
  size: number,
  make: (of: Library, clients: Redis[], options?: object) => ours.Lock,
][] = [
  ["Mutex", 1, 1, (of, [client], options) => new of.Mutex(client!, "key", options)],
  ["Semaphore", 1, 2, (of, [client], options) => new of.Semaphore(client!, "key", 2, options)],
  ["MultiSemaphore", 1, 2, (of, [client], options) => new of.MultiSemaphore(client!, "key", 5, 2, options)],
  ["RedlockMutex", 3, 1, (of, clients, options) => new of.RedlockMutex(clients, "key", options)],
  ["RedlockSemaphore", 3, 2, (of, clients, options) => new of.RedlockSemaphore(clients, "key", 2, options)],
  [
    "RedlockMultiSemaphore",
    3,
    2,
    (of, clients, options) => new of.RedlockMultiSemaphore(clients, "key", 5, 2, options),
  ],
];
const theirs = published as unknown as Library;

describe.each(kinds)("%s", (_, servers, size, make) => {
  test.for([
    [ours, theirs],
    [theirs, ours],
  ] as const)("it and redis-semaphore exclude one another (%#)", async ([first, second], t) => {
    const machines = await openMachines(t, servers);
    const held = Array.from({ length: size }, () => make(first, machines.clients(), quick));
    for (const each of held) await each.acquire();
    const other = make(second, machines.clients(), quick);
    expect(await other.tryAcquire()).toBe(false);
    await held[0]!.release();
    expect(await other.tryAcquire()).toBe(true);
    expect(await make(first, machines.clients(), quick).tryAcquire()).toBe(false);
    await other.release();
    for (const each of held) await each.release();
    for (const client of machines.clients()) {
      await until(async () => (await client.keys("*")).length === 0, "nothing was left");
    }
  });

  test("a waiter is notified of a release", async (t) => {
    const machines = await openMachines(t, servers);
    const held = Array.from({ length: size }, () => make(ours, machines.clients(), quick));
    for (const each of held) await each.acquire();
    const waiter = make(ours, machines.clients(), { acquireTimeout: hour, retryInterval: hour });
    const acquired = waiter.acquire();
    const [looker] = machines.clients();
    await until(async () => (await looker!.pubsub("CHANNELS")).length === 1, "it listened");
    await held[0]!.release();
    await acquired;
    await waiter.release();
    for (const each of held) await each.release();
  });

  test("it is refreshed, and handed over by its identifier to redis-semaphore and back", async (t) => {
    const machines = await openMachines(t, servers);
    const first = make(ours, machines.clients(), { lockTimeout: 5_000, refreshInterval: 100 });
    await first.acquire();
    const [looker] = machines.clients();
    const [key] = (await looker!.keys("*")) as [string];
    await untilRisen(() => looker!.pttl(key), "it was refreshed");
    expect(first.isAcquired).toBe(true);
    first.stopRefresh();
    const taken = { lockTimeout: 5_000, identifier: first.identifier, acquiredExternally: true };
    const second = make(theirs, machines.clients(), taken);
    expect(await second.tryAcquire()).toBe(true);
    second.stopRefresh();
    const third = make(ours, machines.clients(), taken);
    expect(await third.tryAcquire()).toBe(true);
    await third.release();
    for (const client of machines.clients()) {
      await until(async () => (await client.keys("*")).length === 0, "nothing was left");
    }
  });

  test("a holder is notified by its own clock if the servers are silent", async (t) => {
    const machines = await openMachines(t, servers);
    const lost: Error[] = [];
    const onLockLost = (error: Error): void => void lost.push(error);
    const lock = make(ours, machines.clients(), { lockTimeout: 300, refreshInterval: 100, onLockLost });
    await lock.acquire();
    for (const server of machines.servers) server.freeze();
    await until(() => !lock.isAcquired, "it was over");
    await until(() => lost.length === 1, "it was told");
    expect(lost[0]).toBeInstanceOf(ours.LostLockError);
  });

  test("an aborted wait rejects with the signal's reason and holds nothing", async (t) => {
    const machines = await openMachines(t, servers);
    const held = Array.from({ length: size }, () => make(ours, machines.clients()));
    for (const each of held) await each.acquire();
    const waiter = make(ours, machines.clients());
    const controller = new AbortController();
    const acquired = rejection(waiter.acquire(controller.signal));
    controller.abort(new Error("enough"));
    expect((await acquired).message).toBe("enough");
    expect(waiter.isAcquired).toBe(false);
    for (const each of held) await each.release();
  });
});

test("one object asked twice is held once", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const semaphore = new ours.Semaphore(client!, "key", 2, { acquireTimeout: 5_000 });
  await semaphore.acquire();
  let isSecond = false;
  const second = semaphore.acquire().then(() => (isSecond = true));
  await sleep(50);
  expect(isSecond).toBe(false);
  expect(await client!.zcard("semaphore:key")).toBe(1);
  await semaphore.release();
  await second;
  await semaphore.release();
  expect(await client!.keys("*")).toEqual([]);
});

test("a short lockTimeout of others, or their clock, ends no holder of a semaphore", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const long = new ours.Semaphore(client!, "key", 1, { lockTimeout: 60_000 });
  await long.acquire();
  await sleep(120);
  const short = new ours.Semaphore(client!, "key", 1, { lockTimeout: 50, ...quick });
  expect(await short.tryAcquire()).toBe(false);
  expect(await client!.pttl("semaphore:key")).toBeGreaterThan(50_000);
  const real = Date.now;
  t.onTestFinished(() => void (Date.now = real));
  Date.now = () => real() + hour;
  expect(await new ours.Semaphore(client!, "key", 1, quick).tryAcquire()).toBe(false);
  await long.release();
});

test("what a failed try took over several servers is given back", async (t) => {
  const machines = await openMachines(t, 3);
  const [a, b, c] = machines.clients();
  await b!.zadd("semaphore:key", Date.now() + hour, "other");
  await c!.zadd("semaphore:key", Date.now() + hour, "other");
  const semaphore = new ours.RedlockMultiSemaphore(machines.clients(), "key", 2, 2, quick);
  expect(await semaphore.tryAcquire()).toBe(false);
  await until(async () => (await a!.exists("semaphore:key")) === 0, "the permits were back");
});

test("a client that fails is an error of a single server, and a vote of several", async (t) => {
  const machines = await openMachines(t, 3);
  const clients = machines.clients({ maxRetriesPerRequest: 0 });
  await machines.servers[0]!.stop();
  expect((await rejection(new ours.Mutex(clients[0]!, "key").acquire())).message).toMatch(/retries|ECONN|closed/i);
  const mutex = new ours.RedlockMutex(clients, "key");
  await mutex.acquire();
  await mutex.release();
});

test("a release that cannot reach the server rejects for a single server, and resolves over several", async (t) => {
  const machines = await openMachines(t, 3);
  const clients = machines.clients({ maxRetriesPerRequest: 0 });
  const [single, several] = [new ours.Mutex(clients[0]!, "one"), new ours.RedlockMutex(clients, "all")];
  await Promise.all([single.acquire(), several.acquire()]);
  for (const server of machines.servers) await server.stop();
  expect((await rejection(single.release())).message).toMatch(/retries|ECONN|closed/i);
  await several.release();
});

test("await using releases at the end of the block, also if nothing was acquired", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  {
    await using mutex = new ours.Mutex(client!, "key");
    await mutex.acquire();
    expect(await client!.exists("mutex:key")).toBe(1);
    await using other = new ours.Mutex(client!, "key", quick);
    expect(await other.tryAcquire()).toBe(false);
  }
  expect(await client!.exists("mutex:key")).toBe(0);
});

test("errors and bad input are in redis-semaphore's words", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  await new ours.Mutex(client!, "key").acquire();
  const error = await rejection(new ours.Mutex(client!, "key", quick).acquire());
  expect(error).toBeInstanceOf(ours.TimeoutError);
  expect(error.message).toBe("Acquire mutex mutex:key timeout");
  const wrong: [() => unknown, string][] = [
    [() => new ours.Mutex(undefined as never, "key"), '"client" is required'],
    [() => new ours.Mutex(client!, ""), '"key" is required'],
    [() => new ours.Semaphore(client!, "key", 0), '"limit" is required'],
    [() => new ours.MultiSemaphore(client!, "key", 2, "1" as never), '"permits" must be a number'],
    [() => new ours.RedlockMutex(client as never, "key"), '"clients" array is required'],
    [() => new ours.Mutex(client!, "key", { identifier: "" }), "identifier must be not empty random string"],
    [() => new ours.Mutex(client!, "key", { acquiredExternally: true }), "acquiredExternally=true meanless"],
    [
      () => new ours.Mutex(client!, "key", { identifier: "a", externallyAcquiredIdentifier: "b" }),
      "Invalid usage. Use custom identifier and acquiredExternally: true",
    ],
    [
      () => new ours.Mutex(client!, "key", { lockTimeout: -1 }),
      "Expected lockTimeout to be a number from 1 on; got -1.",
    ],
  ];
  for (const [make, message] of wrong) expect(make).toThrow(message);
});
