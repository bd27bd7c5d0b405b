/** Grants that outlive the server that made them: on a real server with a real replica, and with a real disk. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { beforeAll, describe, expect, test } from "vitest";
import { findServerBinary, startServer } from "../scripts/servers.ts";
import type { Durability, Lock, LockEvents, LockManager } from "../src/index.ts";
import { DurabilityError, LockError, LockLostError, LockManager as Manager, SchemeError } from "../src/index.ts";
import { LuaScheme } from "../src/schemes/lua.ts";
import { SetScheme } from "../src/schemes/set.ts";
import { IoredisDriver } from "../src/drivers/ioredis/client.ts";
import { systemClock } from "../src/clock.ts";
import { TestLocks } from "../src/testing.ts";
import { enqueue, rejection, stateOf, turn, unique, waiting } from "./support/locks.ts";
import { openReplicated, sharedByTests } from "./support/replicated.ts";
import { type Finishing, calls, cleared, connections, leftovers, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { clientNames } from "./support/worlds.ts";
import { ask } from "./support/calls.ts";

/** On one replica; time enough for a busy machine. */
const onReplica = { replicas: 1, timeout: 1_500 };
/** For where it is known that nobody will acknowledge. */
const inVain = { replicas: 1, timeout: 20 };

const places = (["lua", "set"] as const).flatMap((scheme) =>
  clientNames
    .filter((on) => scheme === "lua" || on !== "glide")
    .map((on) => ({ title: `${scheme} on ${on}`, scheme, on })),
);

test("scheme set on GLIDE, whose transactions cannot be proven, is refused and leaves nothing", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager({ on: "glide", scheme: "set", durability: onReplica });
  expect(await rejection(locks.acquire(unique()))).toMatchObject({ code: "no-wait" });
  expect(await rejection(locks.tryAcquire(unique()))).toMatchObject({ code: "no-wait" });
  await cleared(stage.redis);
});

function expectUnmet(error: unknown, required: Durability, reached: Durability): void {
  expect(error).toBeInstanceOf(DurabilityError);
  expect(error).toMatchObject({ code: "not-durable", transient: false, required, reached });
}

/** What it rejects with is an unmet wish for one replica. */
async function expectNoReplica(promise: Promise<unknown>): Promise<void> {
  expectUnmet(await rejection(promise), { replicas: 1, aof: false }, { replicas: 0, aof: false });
}

/** What is reported from now on, of that which is ours: the process has managers of other tests. */
function heard<Kind extends "granted" | "trouble">(
  t: Finishing,
  kind: Kind,
  isOurs: (event: LockEvents[`holdfast:${Kind}`]) => boolean,
): LockEvents[`holdfast:${Kind}`][] {
  const all: LockEvents[`holdfast:${Kind}`][] = [];
  const listen = (message: unknown): void => {
    const event = message as LockEvents[`holdfast:${Kind}`];
    if (isOurs(event)) all.push(event);
  };
  subscribe(`holdfast:${kind}`, listen);
  t.onTestFinished(() => void unsubscribe(`holdfast:${kind}`, listen));
  return all;
}

describe.each(places)("$title", ({ scheme, on }) => {
  const replicated = sharedByTests();

  test("a grant reports what has stored it, to its holder and on diagnostics channels", async (t) => {
    const { manager } = replicated();
    await using locks = await manager({ scheme, on, durability: onReplica });
    const name = unique();
    const told = heard(t, "granted", (event) => event.name === name);
    const lock = await locks.acquire(name);
    expect(lock.durability).toEqual({ replicas: 1, aof: false });
    expect(told).toMatchObject([{ token: lock.token, durability: { replicas: 1, aof: false } }]);
    const plain = await locks.acquire(unique(), { durability: null });
    expect(plain.durability).toBeUndefined();
  });

  test("a grant that no replica acknowledges is refused with the count, and leaves nothing behind", async () => {
    const { manager, replica, redis } = replicated();
    await using locks = await manager({ scheme, on, durability: inVain });
    await using other = await manager({ scheme, on });
    await locks.acquire("another", { durability: null });
    replica.freeze();
    await expectNoReplica(locks.acquire("lock"));
    expect(await leftovers(redis)).toEqual(["lock:another"]);
    await expectNoReplica(locks.tryAcquire("lock"));
    await expectNoReplica(locks.request("another", { steal: true }, () => "ran"));
    expect(await leftovers(redis)).toEqual([]);
    expect(await other.tryAcquire("lock")).not.toBeNull();
  });

  test("an extension that no replica acknowledges does not count, and one that it does again counts", async () => {
    const { manager, replica } = replicated();
    await using locks = await manager({ scheme, on, durability: inVain });
    const lock = await locks.acquire(unique(), { ttl: 20_000, durability: { replicas: 1, timeout: 1_500 } });
    const patient = await locks.acquire(unique(), { ttl: 20_000, durability: onReplica });
    replica.freeze();
    await expectNoReplica(lock.extend(60_000));
    expect(lock.held).toBe(true);
    expect(lock.remaining).toBeLessThan(20_000);
    replica.thaw();
    await patient.extend(60_000);
    expect(patient.remaining).toBeGreaterThan(50_000);
  });

  test("a lease whose renewal no replica acknowledges ends at its previous deadline, and says why", async () => {
    const { manager, replica } = replicated();
    await using locks = await manager({ scheme, on, durability: { replicas: 1, timeout: 700 } });
    const lock = await locks.acquire(unique(), { ttl: 2_400 });
    await lock.extend();
    replica.freeze();
    const end = performance.now() + lock.remaining;
    await until(() => performance.now() >= end, "its time was over");
    expect(lock.held).toBe(false);
    await until(() => lock.signal.aborted, "what had arrived was read");
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    expect(lock.signal.reason).toMatchObject({ reason: "unreachable", message: expect.stringContaining("too few") });
    expectUnmet((lock.signal.reason as Error).cause, { replicas: 1, aof: false }, { replicas: 0, aof: false });
  });

  test("an attached lock is as durable as its manager requires", async () => {
    const { manager, replica, redis } = replicated();
    await using from = await manager({ scheme, on });
    await using to = await manager({ scheme, on, durability: onReplica });
    const attached = await to.attach(await (await from.acquire(unique())).detach());
    expect(attached.durability).toEqual({ replicas: 1, aof: false });
    await attached.release();
    const detached = await (await from.acquire(unique())).detach();
    replica.freeze();
    await expectNoReplica(to.attach(detached, { durability: inVain }));
    expect(await leftovers(redis)).toEqual([]);
  });

  test("a connection that is lost before the acknowledgement is no acknowledgement: the grant is asked for again", async () => {
    const { manager, replica, redis } = replicated();
    await using locks = await manager({ scheme, on, durability: { replicas: 1, timeout: 4_000 } });
    await (await locks.acquire("lock")).release();
    replica.freeze();
    const granted = locks.acquire("lock");
    granted.catch(() => undefined);
    const blocked = async (): Promise<string | undefined> =>
      (await connections(redis)).find(({ flags }) => flags?.includes("b"))?.["id"];
    const first = (await until(blocked, "its connection waited for the replica")) as string;
    await redis.call("CLIENT", "KILL", "ID", first);
    await until(async () => ![undefined, first].includes(await blocked()), "it was asked again");
    replica.thaw();
    expect((await granted).durability).toEqual({ replicas: 1, aof: false });
  });

  test("a lock that others hold is busy, and a key that is no lock is an error", async () => {
    const { manager, redis } = replicated();
    await using locks = await manager({ scheme, on, durability: onReplica });
    await using others = await manager();
    await others.acquire("exclusive");
    await others.acquire("shared", { mode: "shared" });
    expect(await locks.tryAcquire("exclusive")).toBeNull();
    expect(await locks.tryAcquire("shared")).toBeNull();
    await redis.lpush("lock:list", "x");
    expect(await rejection(locks.tryAcquire("list"))).toMatchObject({ code: "wrong-type" });
  });

  test("a server whose account may not use WAIT is a clear error, and keeps no grant", async (t) => {
    const { manager, redis, server } = await openStage(t);
    await redis.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-wait");
    const url = server.url.replace("//", "//app:secret@");
    await using locks = await manager({ scheme, on, url, durability: onReplica });
    const error = await rejection(locks.acquire(unique()));
    expect(error).toBeInstanceOf(SchemeError);
    expect(error).toMatchObject({ code: "no-wait", transient: false, message: expect.stringContaining("+wait") });
    expect(await leftovers(redis)).toEqual([]);
    await locks.acquire(unique(), { durability: null });
  });
});

describe("over a failover", () => {
  /** Grants of every kind, by a manager that wishes for a replica. */
  async function grantMany(locks: LockManager, others: LockManager, count: number): Promise<Lock[]> {
    const granted: Promise<Lock>[] = [];
    for (let i = 0; i < count; i++) {
      const kind = i % 5;
      const name = `lock ${i}`;
      if (kind === 0) granted.push(locks.acquire(name));
      else if (kind === 1) granted.push(locks.acquire(name, { mode: "shared", label: "reader" }));
      else if (kind === 2) granted.push(locks.semaphore(name, 3).acquire({ permits: 2 }));
      else if (kind === 3) granted.push(others.acquire(name).then(() => stolen(locks, name)));
      else granted.push(others.acquire(name).then(async (lock) => locks.attach(await lock.detach())));
      if (i % 7 === 0) await granted.at(-1);
    }
    return Promise.all(granted);
  }

  function stolen(locks: LockManager, name: string): Promise<Lock> {
    return new Promise((resolve, reject) => {
      locks.request(name, { steal: true }, (lock) => new Promise(() => resolve(lock))).catch(reject);
    });
  }

  test("each of 200 grants reported as durable is held on the promoted replica", async (t) => {
    const { manager, link, failOver } = await openReplicated(t);
    const [locks, others] = [await manager({ durability: onReplica }), await manager()];
    link.delay(10);
    const granted = await grantMany(locks, others, 200);
    const last = await locks.acquire("last");
    const promoted = await failOver();
    const { held } = await new Manager(promoted).query();
    const found = new Map(held.map(({ token, fence }) => [token, fence]));
    const missing = [...granted, last].filter(({ token, fence }) => found.get(token) !== fence);
    expect(missing.map(({ name }) => name)).toEqual([]);
  });

  test("a grant of scheme set reported as durable is held on the promoted replica", async (t) => {
    const { manager, link, failOver } = await openReplicated(t);
    const locks = await manager({ scheme: "set", durability: onReplica });
    link.delay(20);
    const lock = await locks.acquire("lock");
    const promoted = await failOver();
    expect(await promoted.get("lock:lock")).toBe(lock.token);
  });

  test("an extension reported as durable lasts on the promoted replica", async (t) => {
    const { manager, link, failOver } = await openReplicated(t);
    const ends = async (scheme: "lua" | "set"): Promise<void> => {
      const lock = await (await manager({ scheme, durability: onReplica })).acquire(scheme, { ttl: 30_000 });
      link.delay(20);
      await lock.extend(300_000);
    };
    await ends("lua");
    await ends("set");
    const promoted = await failOver();
    for (const each of ["lua", "set"]) expect(await promoted.pttl(`lock:${each}`)).toBeGreaterThan(200_000);
  });
});

describe("in line", () => {
  const replicated = sharedByTests();

  test("a waiter holds when a replica has its grant, and not when the grant is pushed", async () => {
    const { manager, replica, redis } = replicated();
    await using locks = await manager({ durability: { replicas: 1, timeout: 200 } });
    await using other = await manager();
    const name = unique();
    const first = await other.acquire(name);
    const second = enqueue(locks, name);
    await waiting(other, name, 1);
    const third = enqueue(other, name);
    await waiting(other, name, 2);
    replica.freeze();
    await first.release();
    await expectNoReplica(second.request);
    await third.granted;
    expect((await stateOf(other, name)).held.map(({ token }) => token)).toEqual([(await third.granted).token]);
    await third.end();
    await cleared(redis);
  });

  test("a waiter whose claim is acknowledged reports what has stored it", async () => {
    const { manager } = replicated();
    await using locks = await manager({ durability: onReplica });
    await using other = await manager();
    const name = unique();
    const first = await other.acquire(name);
    const waiters = [locks.acquire(name), locks.acquire(name, { mode: "shared" })];
    await waiting(other, name, 2);
    await first.release();
    for (const waiter of waiters) {
      const lock = await waiter;
      expect(lock.durability).toEqual({ replicas: 1, aof: false });
      await lock.release();
    }
  });

  test("each waiter of a process has its own grant", async () => {
    const { manager, redis } = replicated();
    await using locks = await manager({ durability: onReplica });
    const name = unique();
    const first = await locks.acquire(name);
    const waiters = [locks.acquire(name), locks.acquire(name), locks.acquire(name)];
    await waiting(locks, name, 3);
    expect(await redis.zcard(`{lock:${name}}:queue`)).toBe(3);
    await first.release();
    for (const waiter of waiters) await (await waiter).release();
  });

  test.each([
    ["exclusive", { label: "the long way" }],
    ["shared", { mode: "shared" as const }],
    ["a semaphore's", { mode: "shared" as const, permits: 1, limit: 3 }],
  ])("a holder that asks again is proven by that, also where its lease is long enough: %s", async (_, kind) => {
    const { replica, client } = replicated();
    const settings = { prefix: "lock:", clientId: "a".repeat(22), label: "" };
    const open = (): LuaScheme => new LuaScheme(new IoredisDriver(client()), systemClock, settings);
    const [scheme, again] = [open(), open()];
    const request = { lock: "l", token: `${settings.clientId}:1`, mode: "exclusive" as const, label: "", ...kind };
    // What else it writes with its first request is written then.
    await ask(again, { ...request, lock: "other", ttl: 30_000, durability: { ...onReplica, aof: false } }, false);
    replica.freeze();
    expect(await ask(scheme, { ...request, ttl: 30_000 }, false)).toMatchObject({ kind: "granted" });
    await expectNoReplica(ask(again, { ...request, ttl: 1_000, durability: { ...inVain, aof: false } }, false));
    await Promise.all([scheme.close(), again.close()]);
  });
});

test("a holder of scheme set that asks again counts on no more than the server keeps", async (t) => {
  const { client, redis } = await openStage(t);
  const scheme = new SetScheme(new IoredisDriver(client()), systemClock, { prefix: "lock:", clientId: "a", label: "" });
  const request = { lock: "l", token: "a:1", mode: "exclusive" as const, label: "", ttl: 10_000 };
  await ask(scheme, request, false);
  await redis.pexpire("lock:l", 5_000);
  const answer = await ask(scheme, request, false);
  expect(answer.kind === "granted" && answer.until).toBeLessThanOrEqual(systemClock.now() + 5_000);
  await scheme.close();
});

describe("what it costs", () => {
  const replicated = sharedByTests();

  test("64 grants of one turn share one WAIT", async () => {
    const { manager, redis } = replicated();
    await using locks = await manager({ durability: onReplica });
    await (await locks.acquire("first")).release();
    const before = await calls(redis, "wait");
    const granted = await Promise.all(Array.from({ length: 64 }, (_, i) => locks.acquire(`lock ${i}`)));
    expect(granted.map(({ durability }) => durability?.replicas)).toEqual(granted.map(() => 1));
    expect(await calls(redis, "wait")).toBe(before + 1);
  });

  test("grants that are asked for while another is being proven share one WAIT after it", async () => {
    const { manager, redis, replica } = replicated();
    await using locks = await manager({ durability: { replicas: 1, timeout: 3_000 } });
    await (await locks.acquire("first")).release();
    const before = await calls(redis, "wait");
    replica.freeze();
    const first = locks.acquire("first");
    await until(async () => (await connections(redis)).some(({ flags }) => flags?.includes("b")), "the first waited");
    const others: Promise<Lock>[] = [];
    for (let i = 0; i < 20; i++) {
      others.push(locks.acquire(`lock ${i}`));
      await turn();
    }
    replica.thaw();
    for (const lock of [first, ...others]) expect((await lock).durability?.replicas).toBe(1);
    expect(await calls(redis, "wait")).toBe(before + 2);
  });

  test("requests with other requirements, or none, share no call with them", async () => {
    const { manager, redis } = replicated();
    await using locks = await manager({ durability: onReplica });
    await (await locks.acquire("first")).release();
    const before = [await calls(redis, "wait"), await calls(redis, "evalsha")];
    const [one, two, three] = await Promise.all([
      locks.acquire("one"),
      locks.acquire("two", { durability: { replicas: 1, timeout: 1_400 } }),
      locks.acquire("three", { durability: null }),
    ]);
    expect([one.durability?.replicas, two.durability?.replicas, three.durability]).toEqual([1, 1, undefined]);
    expect([await calls(redis, "wait"), await calls(redis, "evalsha")]).toEqual([before[0]! + 2, before[1]! + 3]);
  });

  test("a manager without a requirement sends no WAIT", async () => {
    const { manager, redis } = replicated();
    await using locks = await manager();
    const before = await calls(redis, "wait");
    const lock = await locks.acquire("lock");
    await lock.extend();
    await lock.release();
    expect(await calls(redis, "wait")).toBe(before);
  });

  test("a server that has forgotten the script is sent it again, and proves the grant of that", async () => {
    const { manager, redis, replica } = replicated();
    await using locks = await manager({ durability: onReplica });
    await (await locks.acquire("lock")).release();
    await redis.script("FLUSH");
    expect((await locks.acquire("lock")).durability).toEqual({ replicas: 1, aof: false });
    await redis.script("FLUSH");
    replica.freeze();
    await expectNoReplica(locks.acquire("other", { durability: inVain }));
  });
});

describe("what is built on locks", () => {
  const replicated = sharedByTests();

  test("semaphores, elections, jobs and several names have the manager's requirement", async (t) => {
    const { manager } = replicated();
    await using locks = await manager({ durability: onReplica });
    const names = ["gpu", "leader", "job", "a", "b"].map((name) => unique(name));
    const [gpu, leader, job, a, b] = names as [string, string, string, string, string];
    const told = heard(t, "granted", ({ name }) => names.includes(name));
    await locks.semaphore(gpu, 2).request(() => undefined);
    for await (const term of locks.elect(leader)) {
      expect(term.held).toBe(true);
      break;
    }
    await locks.once(job, { atMost: 60_000, atLeast: 50_000 }, () => undefined);
    await locks.request([a, b], () => undefined);
    expect(told.map(({ durability }) => durability?.replicas)).toEqual([1, 1, 1, 1, 1]);
  });

  test("a candidate outlives a replica that is away", async (t) => {
    const { manager, replica } = replicated();
    const label = unique();
    await using locks = await manager({ label, durability: { replicas: 1, timeout: 500 } });
    const troubles = heard(t, "trouble", (event) => event.label === label);
    replica.freeze();
    const elected = (async () => {
      for await (const term of locks.elect("leader")) return term.held;
      return undefined;
    })();
    elected.catch(() => undefined);
    await until(() => troubles.some(({ error }) => error instanceof DurabilityError), "its candidacy was in vain");
    replica.thaw();
    expect(await elected).toBe(true);
  });

  test("a nested reentrant request that requires more than the outer one has is refused", async () => {
    const { manager } = replicated();
    await using locks = await manager();
    const error = await rejection(
      locks.request("lock", { reentrant: true }, () =>
        locks.request("lock", { reentrant: true, durability: onReplica }, () => "ran"),
      ),
    );
    expect(error).toBeInstanceOf(LockError);
    expect(error).toMatchObject({ code: "unsupported", message: expect.stringContaining("less durability") });
  });

  test("granted locks are released if one of several names is not durable", async () => {
    const { manager, replica, redis } = replicated();
    await using locks = await manager({ durability: inVain });
    replica.freeze();
    await expectNoReplica(locks.acquire(["a", "b"]));
    expect(await leftovers(redis)).toEqual([]);
  });
});

test("a command of scheme set that the account may not use is named, instead of a dropped transaction", async (t) => {
  const { manager, redis, server } = await openStage(t);
  await redis.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-incrby");
  const url = server.url.replace("//", "//app:secret@");
  const locks = await manager({ scheme: "set", url, durability: onReplica });
  expect(await rejection(locks.acquire(unique()))).toMatchObject({ code: "not-authorized" });
});

describe("schemes without replicas", () => {
  test("memory refuses durability, for a manager and for a request", async () => {
    expect(() => new Manager(undefined, { durability: onReplica })).toThrow(/^Expected no durability.*"memory"/);
    const locks = new TestLocks().manager();
    const error = await rejection(locks.acquire("lock", { durability: onReplica }));
    expect(error).toBeInstanceOf(TypeError);
    expect((await locks.acquire("lock", { durability: null })).held).toBe(true);
  });

  test("redlock refuses durability, for a manager and for a request, and says what to do", async (t) => {
    const { client } = await openStage(t);
    const says = /^Expected no durability for the scheme "redlock".*appendfsync always/;
    expect(() => new Manager([client()], { durability: onReplica })).toThrow(says);
    const locks = new Manager([client()]);
    const error = await rejection(locks.acquire("lock", { durability: onReplica }));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(says);
    await locks.close();
  });
});

describe.each(["lua", "set"] as const)("on disk, scheme %s", (scheme) => {
  const onDisk = { aof: true, timeout: 2_000 };
  let hasWaitAof: boolean;
  beforeAll(async () => {
    const server = await startServer({ binary: await findServerBinary() });
    const finish: (() => void | Promise<void>)[] = [() => server.stop()];
    const { redis } = await openStage({ onTestFinished: (each) => void finish.unshift(each) });
    hasWaitAof = ((await redis.call("COMMAND", "INFO", "WAITAOF")) as unknown[])[0] !== null;
    for (const each of finish) await each();
  });

  const appending = (fsync: string) => ({ args: ["--appendonly", "yes", "--appendfsync", fsync] });

  test("a grant reports that the disk has stored it", async (t) => {
    t.skip(!hasWaitAof, "the server has no WAITAOF");
    const { manager } = await openStage(t, appending("always"));
    const locks = await manager({ scheme, durability: onDisk });
    const lock = await locks.acquire(unique());
    expect(lock.durability).toEqual({ replicas: 0, aof: true });
    await lock.extend();
    await lock.release();
  });

  test("a grant is on the server's disk and on that of a replica", async (t) => {
    t.skip(!hasWaitAof, "the server has no WAITAOF");
    const { manager, replica } = await openReplicated(t, appending("always"));
    const locks = await manager({ scheme, durability: { ...onDisk, replicas: 1 } });
    expect((await locks.acquire(unique())).durability).toEqual({ replicas: 1, aof: true });
    replica.freeze();
    const error = await rejection(locks.acquire(unique(), { durability: { ...inVain, aof: true } }));
    expect(error).toMatchObject({
      code: "not-durable",
      required: { replicas: 1, aof: true },
      reached: { replicas: 0 },
    });
  });

  test("with appendfsync everysec a grant waits for the disk", async (t) => {
    t.skip(!hasWaitAof, "the server has no WAITAOF");
    const { manager } = await openStage(t, appending("everysec"));
    const locks = await manager({ scheme, durability: { aof: true } });
    for (let i = 0; i < 3; i++) expect((await locks.acquire(unique())).durability?.aof).toBe(true);
  });

  test("with appendfsync no a grant is refused, and leaves nothing", async (t) => {
    t.skip(!hasWaitAof, "the server has no WAITAOF");
    const { manager, redis } = await openStage(t, appending("no"));
    const locks = await manager({ scheme, durability: { aof: true, timeout: 50 } });
    const error = await rejection(locks.acquire(unique()));
    expectUnmet(error, { replicas: 0, aof: true }, { replicas: 0, aof: false });
    expect(await leftovers(redis)).toEqual([]);
  });

  test("a server that cannot tell (no WAITAOF, or no append-only file) is a clear error, and keeps no grant", async (t) => {
    const { manager, redis } = await openStage(t);
    const locks = await manager({ scheme, durability: onDisk });
    const error = await rejection(locks.acquire(unique()));
    expect(error).toMatchObject({ code: "no-wait", message: expect.stringContaining("appendonly yes") });
    expect(await leftovers(redis)).toEqual([]);
  });
});
