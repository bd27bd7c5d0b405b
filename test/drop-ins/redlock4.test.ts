/** What redlock 4 tests of itself, in promises, and where the drop-in differs. */
import { expect, test } from "vitest";
import Redlock, { Lock, LockError, using } from "../../src/redlock4.ts";
import { until } from "../support/until.ts";
import { openMachines, rejection } from "./stage.ts";

const options = { retryCount: 2, retryDelay: 150, retryJitter: 50 };

test.for([
  [1, "a"],
  [1, ["a", "b"]],
  [3, "a"],
  [3, ["a", "b"]],
] as [number, string | string[]][])(
  "locks, waits, extends and unlocks: %i servers, %s",
  async ([count, resource], t) => {
    const machines = await openMachines(t, count);
    const redlock = new Redlock(machines.clients(), options);
    const one = await redlock.lock(resource, 1_000);
    expect(one).toBeInstanceOf(Redlock.Lock);
    expect(one.attempts).toBe(1);
    expect(one.attemptsRemaining).toBe(1);
    const ended = one.expiration;

    const two = await redlock.lockWithOptions(resource, 800, { retryCount: -1 });
    expect(Date.now()).toBeGreaterThanOrEqual(ended);
    expect(two.attempts).toBeGreaterThan(1);
    const unlocked = two.unlock();
    expect(two.expiration).toBe(0);
    await unlocked;
    expect(await rejection(two.unlock())).toBeInstanceOf(LockError);
    expect(await rejection(two.extend(200))).toMatchObject({ name: "LockError", attempts: 0 });

    const three = await redlock.lock(resource, 800);
    const before = three.expiration;
    expect(await three.extend(900)).toBe(three);
    expect(three.expiration).toBeGreaterThan(before);
    const refused = await rejection(redlock.lock(resource, 200));
    expect(refused).toMatchObject({ name: "LockError", attempts: 3 });
    expect(refused.message).toBe(`Exceeded 2 attempts to lock the resource "${String(resource)}".`);
    await redlock.release(three);

    const four = await redlock.lockWithOptions(resource, 200, { retryCount: 10, retryDelay: 1 });
    expect(four.attemptsRemaining).toBe(9);
    await four.unlock();
  },
);

test("a lock that has expired is not extended", async (t) => {
  const machines = await openMachines(t, 1);
  const lock = await new Redlock(machines.clients(), options).lock("a", 50);
  await until(() => lock.remaining < 0, "it was over");
  expect((await rejection(lock.extend(800))).message).toBe(
    'Cannot extend lock on resource "a" because the lock has already expired.',
  );
});

test("clientError reports the servers' errors, at each try", async (t) => {
  const machines = await openMachines(t, 3);
  for (const client of machines.clients()) await client.sadd("a", "no lock");
  const redlock = new Redlock(machines.clients(), options);
  const heard: Error[] = [];
  redlock.on("clientError", (error: Error) => heard.push(error));
  expect(await rejection(redlock.lock("a", 200))).toBeInstanceOf(LockError);
  await until(() => heard.length === 9, "all had failed");
});

test("a disposer's lock is held while it is used, and its handler gets the error of a failed release", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!], options);
  const value = await using(redlock.disposer("a", 5_000), async (lock) => {
    await lock.extend(6_000);
    return client!.get("a");
  });
  expect(value).toMatch(/^[0-9a-f]{32}$/);
  expect(await client!.exists("a")).toBe(0);

  const heard: Error[] = [];
  await using(
    redlock.disposer("a", 5_000, (error) => heard.push(error)),
    () => client!.del("a"),
  );
  expect(heard.map(({ message }) => message)).toEqual(['Unable to fully release the lock on resource "a".']);
  expect((await rejection(using(redlock.disposer("a", 5_000), () => Promise.reject(new Error("mine"))))).message).toBe(
    "mine",
  );
});

test("retryCount 0 of one call is heeded", async (t) => {
  const machines = await openMachines(t, 1);
  const redlock = new Redlock(machines.clients(), options);
  const lock = await redlock.lock("a", 5_000);
  expect(await rejection(redlock.lockWithOptions("a", 200, { retryCount: 0 }))).toMatchObject({ attempts: 1 });
  await lock.unlock();
});

test("await using unlocks at the end of the block, unless it was unlocked before", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!], options);
  {
    await using lock = await redlock.acquireWithOptions("a", 5_000, { retryCount: 0 });
    expect(await client!.get("a")).toBe(lock.value);
  }
  expect(await client!.exists("a")).toBe(0);
  await using lock = await redlock.lock("a", 5_000);
  await lock.unlock();
});

test("an extension that fails leaves the lock as it is", async (t) => {
  const machines = await openMachines(t, 1);
  const [client] = machines.clients();
  const redlock = new Redlock([client!], options);
  const lock = await redlock.lock(["a", "b"], 5_000);
  await client!.del("b");
  expect(await rejection(lock.extend(5_000))).toBeInstanceOf(LockError);
  expect(await client!.get("a")).toBe(lock.value);
});

test("scripts are as hooks make them, callbacks and bad input are refused", async (t) => {
  const machines = await openMachines(t, 1);
  const plain = new Redlock(machines.clients());
  const custom = new Redlock(machines.clients(), {
    lockScript: (script) => `${script}-- 1`,
    unlockScript: (script) => `${script}-- 2`,
    extendScript: (script) => `${script}-- 3`,
  });
  expect(custom.lockScript).toBe(`${plain.lockScript}-- 1`);
  expect(custom.unlockScript).toBe(`${plain.unlockScript}-- 2`);
  expect(custom.extendScript).toBe(`${plain.extendScript}-- 3`);
  expect(() => new Redlock([])).toThrow("at least one redis server");
  expect((await rejection(plain.lock("a", 100, (() => {}) as never))).message).toContain("Expected no callback");
  expect((await rejection(plain.lock("a", 0))).message).toContain("at least 1 ms");
  await (await custom.lock("a", 1_000)).unlock();
  expect(new Lock(plain, "a", "x", Date.now() + 3_600_000).remaining).toBeGreaterThan(1_800_000);
});

test("quit ends the clients", async (t) => {
  const machines = await openMachines(t, 2);
  expect(await new Redlock(machines.clients()).quit()).toEqual(["OK", "OK"]);
});
