/** What the drop-in does beyond redlock, or where redlock errs. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import Redlock, { ExecutionError, Lock, ResourceLockedError } from "../../src/redlock.ts";
import { until } from "../support/until.ts";
import { openMachines, rejection } from "./stage.ts";

const hour = 3_600_000;
const once = { retryCount: 0 };

test.for([1, 3])(
  "a waiter is notified of a release, on %i servers, and does not wait for its next try",
  async (count, t) => {
    const machines = await openMachines(t, count);
    const holder = await new Redlock(machines.clients()).acquire(["a"], hour);
    const waiting = new Redlock(machines.clients(), { retryDelay: hour, retryJitter: 0, retryCount: 1 });
    const waiter = waiting.acquire(["a"], hour);
    const [looker] = machines.clients();
    await until(async () => (await looker!.pubsub("CHANNELS")).length === 1, "the waiter listened");
    await holder.release();
    await (await waiter).release();
  },
);

test("a wait that ends listens no longer", async (t) => {
  const machines = await openMachines(t, 1);
  const [looker] = machines.clients();
  const holder = await new Redlock(machines.clients()).acquire(["a"], hour);
  await rejection(new Redlock(machines.clients(), { retryCount: 1, retryDelay: 100 }).acquire(["a"], hour));
  await holder.release();
  await until(async () => (await looker!.pubsub("CHANNELS")).length === 0, "nobody listened");
});

test("waiters of one process for overlapping resources all get their turn by hearing of releases", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients(), { retryDelay: hour, retryJitter: 0, retryCount: 1 });
  const held = await redlock.acquire(["a"], hour);
  const order: string[] = [];
  const take = async (resources: string[]): Promise<void> => {
    const lock = await redlock.acquire(resources, hour);
    order.push(resources.join());
    await lock.release();
  };
  const all = [take(["a", "b"]), take(["b"]), take(["a"]), take(["a", "c"])];
  await sleep(50);
  await held.release();
  await Promise.all(all);
  expect(order).toHaveLength(4);
});

test("a lost try wakes nobody's retry count: attempts has only those that were due", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients(), { retryCount: 2, retryDelay: 300, retryJitter: 0 });
  const holder = await redlock.acquire(["a"], hour);
  const waiter = rejection(redlock.acquire(["a"], hour));
  const [publisher] = machines.clients();
  for (let i = 0; i < 10; i++) {
    await publisher!.publish("{a}:freed", "freed");
    await sleep(20);
  }
  const error = await waiter;
  expect(error).toBeInstanceOf(ExecutionError);
  expect((error as ExecutionError).attempts).toHaveLength(3);
  await holder.release();
});

test("two servers that disagree settle the matter, and nothing is left of the try", async (t) => {
  const machines = await openMachines(t, 2);
  const [a, b] = machines.clients();
  await a!.set("a", "other");
  const error = await rejection(new Redlock(machines.clients(), once).acquire(["a"], hour));
  expect(error).toBeInstanceOf(ExecutionError);
  await until(async () => (await b!.exists("a")) === 0, "the vote was taken back");
});

test("what a try took is given back before the next, so that a server does not block itself", async (t) => {
  const machines = await openMachines(t, 3);
  const [a, b, c] = machines.clients();
  await b!.set("a", "other", "PX", 150);
  await c!.set("a", "other", "PX", 150);
  const lock = await new Redlock([a!, b!, c!], { retryDelay: 100, retryJitter: 0 }).acquire(["a"], hour);
  const tries = await Promise.all(lock.attempts);
  expect(tries.length).toBeGreaterThan(1);
  for (const { votesFor } of tries) expect([...votesFor]).toContain(a);
});

test("a lock that took longer to get than it lasts is no lock", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  await client!.ping();
  machines.servers[0]!.freeze();
  const lock = rejection(new Redlock([client!], once).acquire(["a"], 100));
  await sleep(200);
  machines.servers[0]!.thaw();
  expect(await lock).toBeInstanceOf(ExecutionError);
  await until(async () => (await client!.exists("a")) === 0, "its key was gone");
});

test("a routine is notified that its lock has ended while the server is silent", async (t) => {
  const machines = await openMachines(t, 1);
  const settings = { automaticExtensionThreshold: 200, ...once };
  let reason: unknown;
  const using = new Redlock(machines.clients()).using(["a"], 500, settings, async (signal) => {
    machines.servers[0]!.freeze();
    await until(() => signal.aborted, "the signal was aborted", 4_500);
    reason = signal.error;
    machines.servers[0]!.thaw();
  });
  await using.catch(() => {}); // whether the server still has it depends on when it woke up
  expect(reason).toBeInstanceOf(Error);
});

test("what a routine throws is what using rejects with, at once, also if its lock is gone", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const error = await rejection(
    new Redlock([client!], { retryDelay: hour }).using(["a"], 5_000, async () => {
      await client!.del("a");
      throw new Error("business");
    }),
  );
  expect(error.message).toBe("business");
});

test("a routine is notified at the next extension that its lock was taken away", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!]);
  const using = redlock.using(["a"], 10_000, { automaticExtensionThreshold: 9_800 }, async (signal) => {
    await client!.set("a", "thief");
    await until(() => signal.aborted, "the signal was aborted", 8_000);
    expect(signal.error).toBeInstanceOf(ExecutionError);
  });
  expect(await rejection(using)).toBeInstanceOf(ExecutionError);
  expect(await client!.get("a")).toBe("thief");
});

test("an extension that the server refuses is tried again while the lock lasts", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!]);
  const refused: Error[] = [];
  redlock.on("error", (error: Error) => refused.push(error));
  await redlock.using(
    ["a"],
    30_000,
    { automaticExtensionThreshold: 29_900, retryDelay: 20 },
    async (signal, context) => {
      await client!.config("SET", "min-replicas-to-write", "1");
      await until(() => refused.length > 0, "an extension was refused");
      await client!.config("SET", "min-replicas-to-write", "0");
      const { extensions } = context;
      await until(() => context.extensions > extensions, "it was extended after all");
      expect(signal.aborted).toBe(false);
    },
  );
  expect(await client!.exists("a")).toBe(0);
});

test("extend and release try again what the server refused, as often as they were told", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!], { retryCount: -1, retryDelay: 20 });
  const refused: Error[] = [];
  redlock.on("error", (error: Error) => refused.push(error));
  let lock = await redlock.acquire(["a"], 30_000);
  for (const act of [async () => (lock = await lock.extend(60_000)), () => lock.release()]) {
    refused.length = 0;
    await client!.config("SET", "min-replicas-to-write", "1");
    const acted = act();
    await until(() => refused.length > 1, "it was refused twice");
    await client!.config("SET", "min-replicas-to-write", "0");
    await acted;
  }
  expect(await client!.exists("a")).toBe(0);
});

test("await using releases a lock at the end of the block, unless it was released or replaced before", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!]);
  {
    await using lock = await redlock.acquire(["a"], 30_000);
    expect(await client!.get("a")).toBe(lock.value);
  }
  expect(await client!.exists("a")).toBe(0);
  {
    await using lock = await redlock.acquire(["a"], 30_000);
    await lock.release();
  }
  let replacement;
  {
    await using lock = await redlock.acquire(["a"], 30_000);
    replacement = await lock.extend(30_000);
  }
  expect(await client!.get("a")).toBe(replacement.value);
});

test("a release of a lock that is gone is refused at once, without useless tries", async (t) => {
  const machines = await openMachines(t, 1);
  const lock = await new Redlock(machines.clients(), { retryDelay: hour }).acquire(["a"], 1_000);
  await machines.clients()[0]!.del("a");
  const error = await rejection(lock.release());
  expect((error as ExecutionError).attempts).toHaveLength(1);
});

test("using counts extensions and shows the lock as it is", async (t) => {
  const machines = await openMachines(t, 1);
  await new Redlock(machines.clients()).using(["a"], 400, { automaticExtensionThreshold: 300 }, async (_, context) => {
    const first = context.lock;
    await until(() => context.extensions >= 2, "it was extended twice");
    expect(context.lock.value).toBe(first.value);
    expect(context.lock.expiration).toBeGreaterThan(first.expiration);
  });
});

test("a step of the wall clock neither ends nor prolongs a lock", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients());
  const lock = await redlock.acquire(["a"], 60_000);
  const real = Date.now;
  t.onTestFinished(() => void (Date.now = real));
  Date.now = () => real() + hour;
  const extended = await lock.extend(60_000);
  Date.now = () => real();
  await extended.release();
});

test("string scripts are used, hooks get the text, and scripts show what is run", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients(), once, {
    acquireScript: (script) => `${script}-- changed`,
    releaseScript: "return #KEYS",
  });
  expect(redlock.scripts.acquireScript.value).toMatch(/-- changed$/);
  const lock = await redlock.acquire(["a"], hour);
  await lock.release();
  expect(await machines.clients()[0]!.get("a")).toBe(lock.value);
});

test("errors of servers are emitted, and a listener is not needed", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients({ stringNumbers: true }), once);
  const heard: Error[] = [];
  redlock.on("error", (error: Error) => heard.push(error));
  const lock = await redlock.acquire(["a", "a"], hour);
  await rejection(redlock.acquire(["a"], hour));
  expect(heard).toEqual([new ResourceLockedError("The operation was applied to: 0 of the 1 requested resources.")]);
  await lock.release();
});

test("bad input is refused before anything is sent", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients());
  const routine = async (): Promise<void> => {};
  const refused: [Promise<unknown>, string][] = [
    [redlock.acquire(["a"], 1.5), "Duration must be an integer value in milliseconds."],
    [redlock.acquire(["a"], Number.NaN), "Duration must be an integer value in milliseconds."],
    [redlock.acquire(["a"], 0), "Expected a duration of at least 1 ms; got 0."],
    [redlock.acquire([], 1_000), "Expected an array of at least one resource, each a string; got"],
    [redlock.acquire("a" as never, 1_000), 'Expected an array of at least one resource, each a string; got "a".'],
    [redlock.acquire(["a"], 1_000, { retryDelay: -1 }), "Expected retryDelay to be a number from 0 on; got -1."],
    [redlock.acquire(["a"], 1_000, { db: 3 }), "Expected db in the constructor's settings only"],
    [redlock.using(["a"], 599, routine), "must be at least 100ms greater than the `automaticExtensionThreshold`"],
    [redlock.using(["a"], 5_000, {}), "INVARIANT: routine is not a function."],
    [
      redlock.extend(new Lock(redlock, ["a"], "x", [], Date.now() - 1), 1_000),
      "Cannot extend an already-expired lock.",
    ],
  ];
  for (const [promise, message] of refused) expect((await rejection(promise)).message).toContain(message);
  expect(() => new Redlock([])).toThrow("Redlock must be instantiated with at least one redis client.");
  expect(() => new Redlock([{} as never])).toThrow("Expected a Redis client");
  expect(await machines.clients()[0]!.keys("*")).toEqual([]);
});

test("quit ends the clients", async (t) => {
  const machines = await openMachines(t, 2);
  const clients = machines.clients();
  const redlock = new Redlock(clients);
  await (await redlock.acquire(["a"], 1_000)).release();
  await redlock.quit();
  await until(() => clients.every(({ status }) => status === "end"), "all were at their end");
});
