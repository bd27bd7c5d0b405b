/** Jobs that one of many machines runs, on every scheme. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockLostError, SchemeError } from "../src/index.ts";
import type { LockManager, OnceResult } from "../src/index.ts";
import { once } from "../src/primitives/once.ts";
import { ManualClock, TestLocks } from "../src/testing.ts";
import { deferred, hold, isFree, rejection, stateOf, unique } from "./support/locks.ts";
import { ScriptedScheme } from "./support/scripted.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { type World, places, schemes } from "./support/worlds.ts";
import { startLeases } from "./support/leases.ts";

type Refused = OnceResult<never> & { ran: false };

async function refused(result: Promise<OnceResult<unknown>>): Promise<Refused> {
  const found = await result;
  if (found.ran) throw new Error("The job ran.");
  return found;
}

const never = (): never => {
  throw new Error("This job must not run.");
};

const overNodes = places.filter(({ title }) => title === "redlock on ioredis 6");

describe.each([...schemes, ...overNodes])("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;

  beforeAll(async () => {
    world = await open();
    a = await world.manager({ label: "machine a" });
    b = await world.manager({ label: "machine b" });
  });
  afterAll(() => world.close());

  test("a label that is too long to be kept beside the job's state is cut between two characters", async () => {
    const label = `${"a".repeat(199)}😀`;
    const job = { atMost: 60_000, atLeast: 30_000 };
    expect(await a.once(unique(), { ...job, label }, () => "done")).toMatchObject({ ran: true, value: "done" });
    const named = await world.manager({ label });
    const name = unique();
    expect(await named.once(name, job, () => "done")).toMatchObject({ ran: true, value: "done" });
    expect(await b.once(name, job, () => "again")).toMatchObject({ ran: false, by: expect.stringMatching(/^a{199}/) });
  });

  test("of many that try at once one runs the job, and the others learn who", async () => {
    const name = unique();
    const ended = deferred();
    let runs = 0;
    const job = async () => {
      runs++;
      await ended.promise;
      return "report";
    };
    const tries = [a, b, a, b, a, b].map((locks) => locks.once(name, { atMost: 60_000, atLeast: 30_000 }, job));
    await until(() => runs > 0, "one ran");
    ended.resolve();
    const results = await Promise.all(tries);
    expect(runs).toBe(1);
    expect(results.filter(({ ran }) => ran)).toMatchObject([{ value: "report" }]);
    const told = results.filter((each): each is Refused => !each.ran);
    expect(told).toHaveLength(5);
    for (const { by } of told) expect(by).toMatch(/^machine [ab]$/);
  });

  test("others are told at once that it runs, and later that it is done, by whom and since when", async () => {
    const name = unique();
    const ended = deferred();
    const before = Date.now();
    const running = a.once(name, { atMost: 60_000, atLeast: 40_000 }, () => ended.promise);
    await until(async () => (await stateOf(b, name)).held.length === 1, "it ran");
    const during = await refused(b.once(name, { atMost: 60_000 }, never));
    expect(during).toMatchObject({ state: "running", by: "machine a" });
    if (scheme !== "set") expect(Number(during.started)).toBeGreaterThanOrEqual(before);
    ended.resolve();
    await running;
    const after = await refused(b.once(name, { atMost: 60_000 }, never));
    expect(after).toMatchObject({ state: "done", by: "machine a" });
    expect(Number(after.started)).toBeGreaterThanOrEqual(before);
    expect(Number(after.started)).toBeLessThanOrEqual(Date.now());
  });

  test.each([
    ["longer", 1_000],
    ["shorter", 60_000],
  ])("a lock that is kept ends atLeast after the start, where that is %s than its ttl", async (_, ttl) => {
    const name = unique();
    await a.once(name, { atMost: 600_000, atLeast: 20_000, ttl }, () => {});
    const { remaining } = await refused(b.once(name, { atMost: 600_000 }, never));
    expect(remaining).toBeLessThanOrEqual(20_000);
    expect(remaining).toBeGreaterThan(15_000);
  });

  test("after atLeast the job can be run again, with a larger fence", async () => {
    const name = unique();
    const first = await a.once(name, { atMost: 1_000, atLeast: 60 }, () => 1);
    const again = async () => {
      const result = await b.once(name, { atMost: 1_000 }, () => 2);
      return result.ran ? result : undefined;
    };
    const second = (await until(again, "it ran again")) as { fence: number };
    expect(second.fence).toBeGreaterThan((first as { fence: number }).fence);
  });

  test("without atLeast the lock is free when the job has ended", async () => {
    const name = unique();
    expect(await a.once(name, { atMost: 1_000 }, () => 1)).toMatchObject({ ran: true, value: 1 });
    expect(await isFree(b, name)).toBe(true);
  });

  test("a job that throws has run: its error is thrown, the lock is kept, and others learn that it failed", async () => {
    const name = unique();
    const mine = new Error("mine");
    const run = a.once(name, { atMost: 60_000, atLeast: 30_000 }, () => {
      throw mine;
    });
    expect(await rejection(run)).toBe(mine);
    expect(await refused(b.once(name, { atMost: 60_000 }, never))).toMatchObject({ state: "failed", by: "machine a" });
  });

  test("what is kept survives close(), also of a manager whose job still runs", async () => {
    const [done, running] = [unique(), unique()];
    const manager = await world.manager({ label: "short-lived" });
    await manager.once(done, { atMost: 60_000, atLeast: 30_000 }, () => {});
    const ended = deferred();
    const cut = rejection(manager.once(running, { atMost: 60_000, atLeast: 30_000 }, () => ended.promise));
    await until(async () => (await stateOf(b, running)).held.length === 1, "it ran");
    await manager.close({ timeout: 0 });
    expect(await cut).toMatchObject({ name: "LockLostError", reason: "closed" });
    ended.resolve();
    expect(await refused(b.once(done, { atMost: 60_000 }, never))).toMatchObject({ state: "done", by: "short-lived" });
    expect(await refused(b.once(running, { atMost: 60_000 }, never))).toMatchObject({ by: "short-lived" });
  });

  test("atMost ends the lock however long the job takes, and the job is told", async () => {
    const run = a.once(unique(), { atMost: 100 }, (lock) => until(() => lock.signal.aborted, "the job was told"));
    expect(await rejection(run)).toBeInstanceOf(LockLostError);
  });

  test("a lock that was taken otherwise counts as running", async () => {
    const name = unique();
    const holder = await hold(a, name);
    expect(await refused(b.once(name, { atMost: 60_000 }, never))).toMatchObject({
      state: "running",
      by: "machine a",
      started: undefined,
    });
    await holder.end();
  });

  test("whoever waits for the lock gets it when it is no longer kept", async () => {
    const name = unique();
    const ended = deferred();
    const job = a.once(name, { atMost: 60_000, atLeast: 400, ttl: 60_000 }, () => ended.promise);
    await until(async () => (await stateOf(b, name)).held.length === 1, "it ran");
    const waiter = b.acquire(name, { waitTimeout: 4_000 });
    if (scheme !== "set") await until(async () => (await stateOf(b, name)).pending.length === 1, "one waited");
    ended.resolve();
    await job;
    await (await waiter).release();
  });
});

test("the lock of a process that dies while the job runs is kept for atLeast", async (t) => {
  const stage = await openStage(t);
  const victim = stage.client();
  const dying = await stage.manager({ client: victim });
  const job = { atMost: 600_000, atLeast: 200_000, ttl: 1_000 };
  void dying.once("report", job, () => new Promise(() => {})).catch(() => {});
  await until(async () => (await stage.redis.pttl("lock:report")) > 100_000, "the lock was long");
  victim.disconnect();
  const other = await stage.manager();
  expect(await refused(other.once("report", { atMost: 600_000 }, never))).toMatchObject({ state: "running" });
});

test("a job is not started when its lock could not be kept, and the lock is given back", async () => {
  const clock = new ManualClock();
  const scheme = new ScriptedScheme(clock);
  const failure = new SchemeError("read-only", "no", []);
  scheme.extends.always = () => {
    throw failure;
  };
  const leases = startLeases(scheme, clock);
  const job = (_: string, { ttl, maxHold }: { ttl: number; maxHold: number }) =>
    Promise.resolve(leases.start({ ttl, maxHold }));
  const room = { clock, job, within: never, look: never };
  const terms = { name: "report", atMost: 600_000, atLeast: 200_000, ttl: 1_000, label: "" };
  expect(await rejection(once(room, terms, never))).toBe(failure);
  expect(scheme.releases.count).toBe(1);
  await leases.keeper.close(0);
});

describe("refused before anything is sent", () => {
  const locks = new TestLocks().manager();
  test.each([
    [5, { atMost: 100 }, () => {}, TypeError, "Expected the lock's name to be a string; got 5."],
    ["a", undefined, () => {}, TypeError, "Expected atMost, how long the job may take at most; got undefined."],
    ["a", { atMost: 10 }, () => {}, RangeError, "Expected atMost to be a whole number of at least 50 milliseconds"],
    ["a", { atMost: 100, atLeast: 101 }, () => {}, RangeError, "no longer than atMost, 100 milliseconds; got 101."],
    ["a", { atMost: 100, atLeast: -1 }, () => {}, RangeError, "Expected atLeast to be a whole number of at least 0"],
    ["a", { atMost: 100, atleast: 1 }, () => {}, TypeError, "Did you mean atLeast?"],
    ["a", { atMost: 100 }, undefined, TypeError, "Expected the callback to be a function; got undefined."],
  ])("once(%j, %j)", async (name, options, job, kind, message) => {
    const error = await rejection(Reflect.apply(locks.once, locks, [name, options, job]));
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toContain(message);
  });
});
