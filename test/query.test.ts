/** Looking at locks that were not made by the scheme that looks. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockManager, type SchemeError } from "../src/index.ts";
import { systemClock } from "../src/clock.ts";
import { IoredisDriver } from "../src/drivers/ioredis/client.ts";
import { LuaScheme } from "../src/schemes/lua.ts";
import { SetScheme } from "../src/schemes/set.ts";
import { TestLocks } from "../src/testing.ts";
import { enqueue, rejection, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { openWorld, type World } from "./support/worlds.ts";

let world: World;
let lua: LockManager;
let set: LockManager;

beforeAll(async () => {
  world = await openWorld("lua", "ioredis 6");
  lua = await world.manager({ label: "by lua" });
  set = await world.manager({ label: "by set", scheme: "set" });
});
afterAll(() => world.close());

test("a key that is no lock does not hide the others, and is named when asked for", async () => {
  const name = unique();
  await world.redis.hset("lock:alien", "a", "b");
  await using _ = await lua.acquire(name);
  for (const locks of [lua, set]) {
    expect((await locks.query()).held.map((each) => each.name)).toEqual([name]);
    expect((await rejection(locks.query({ name: "alien" }))) as SchemeError).toMatchObject({ code: "wrong-type" });
  }
  await world.redis.del("lock:alien");
});

test("a holder of the set scheme is one of us to the lua scheme: token and label", async () => {
  const name = unique();
  await using lock = await set.acquire(name);
  await until(async () => (await lua.query({ name })).held[0]?.label, "the label was there");
  expect((await lua.query({ name })).held).toMatchObject([{ token: lock.token, label: "by set", mode: "exclusive" }]);
});

test.each([
  ["lua", "set"],
  ["set", "lua"],
])("a holder of the %s scheme is freed by the %s scheme, with a label of its own too", async (holds, frees) => {
  const name = unique();
  const managers: Record<string, LockManager> = { lua, set };
  const lock = await (managers[holds] as LockManager).acquire(name, { label: "its own", ttl: 1_500 });
  const taken = await (managers[frees] as LockManager).forceRelease(name, [lock.token]);
  expect(taken).toMatchObject([{ token: lock.token }]);
  expect((await lua.query({ name })).held).toEqual([]);
  await until(() => !lock.held, "the holder noticed");
  await lock.release();
});

test("a foreign holder is freed only if it is the one that was seen", async () => {
  const name = unique();
  for (const locks of [lua, set]) {
    await world.redis.set(`lock:${name}`, "0123456789abcdef", "PX", 10_000);
    expect((await locks.query({ name })).held).toMatchObject([{ token: undefined, clientId: "", mode: "exclusive" }]);
    expect(await locks.forceRelease(name, ["somebody"])).toEqual([]);
    expect(await locks.forceRelease(name, [undefined])).toHaveLength(1);
    expect(await world.redis.exists(`lock:${name}`)).toBe(0);
  }
});

test.for([
  ["lua", LuaScheme],
  ["set", SetScheme],
] as const)("scheme %s frees a lock from nobody who came after the foreign holder that was seen", async (of, t) => {
  const [, Scheme] = of;
  const settings = { prefix: "lock:", clientId: "e".repeat(22), label: "" };
  const scheme = new Scheme(new IoredisDriver(world.redis), systemClock, settings);
  t.onTestFinished(() => scheme.close());
  const name = unique();
  await world.redis.set(`lock:${name}`, "*", "PX", 10_000); // what stands for anybody elsewhere
  const [seen] = await scheme.query({ name });
  await world.redis.del(`lock:${name}`);
  await using mine = await lua.acquire(name);
  for (const holder of seen?.holders ?? []) expect(await scheme.evict(name, holder)).toBe(false);
  expect(seen?.holders).toHaveLength(1);
  expect((await lua.query({ name })).held).toMatchObject([{ token: mine.token }]);
});

describe("how long", () => {
  test("a lock has been held, and each waiter has waited, is told by the clock of scheme memory", async () => {
    const memory = new TestLocks();
    const locks = memory.manager();
    await locks.acquire("a");
    await memory.clock.advance(1_000);
    const waiter = enqueue(memory.manager(), "a");
    await memory.clock.advance(2_000);
    const { held, pending } = await locks.query({ name: "a" });
    expect([held[0]?.held, held[0]?.waited]).toEqual([3_000, undefined]);
    expect([pending[0]?.waited, pending[0]?.held]).toEqual([2_000, undefined]);
    void waiter.end();
  });

  test("is told by the server, to whoever looks, also of those who share a place", async () => {
    const name = unique();
    const other = await world.manager({ label: "other" });
    await using _ = await lua.acquire(name);
    const waiters = [enqueue(other, name), enqueue(other, name)];
    const seen = () => lua.query({ name });
    await until(async () => (await seen()).pending.length === 2, "both waited");
    const first = await seen();
    await until(async () => ((await seen()).held[0]?.held ?? 0) > (first.held[0]?.held ?? 0) + 20, "time passed");
    const { held, pending } = await seen();
    for (const { waited = 0 } of pending) {
      expect(waited).toBeGreaterThan(first.pending[0]?.waited ?? 0);
      expect(waited).toBeLessThanOrEqual(held[0]?.held ?? 0);
    }
    // The one whose own requests wait knows since when each of them does.
    const [one, two] = (await other.query({ name })).pending.map(({ waited }) => waited ?? 0);
    expect(one).toBeGreaterThanOrEqual(two as number);
    await Promise.all(waiters.map((each) => (void each.end(), undefined)));
  });

  test("a lock has been held is known from the fence if the scheme does not say it", async () => {
    const name = unique();
    await set.once(name, { atMost: 60_000, atLeast: 60_000 }, () => {});
    const seen = async () => (await set.query({ name })).held[0]?.held ?? 0;
    await until(async () => (await seen()) > 20, "time passed");
    expect(await seen()).toBeLessThan(20_000);
  });
});

test("the manager's label is told beside the request's own", async () => {
  const name = unique();
  await using _ = await lua.acquire(name, { label: "invoice run" });
  const waiter = enqueue(lua, name, { label: "next run" });
  await until(async () => (await set.query({ name })).held[0]?.clientLabel, "the label was there");
  await until(async () => (await lua.query({ name })).pending.length === 1, "it waited");
  const { held, pending } = await lua.query({ name });
  expect([held[0]?.label, held[0]?.clientLabel]).toEqual(["invoice run", "by lua"]);
  expect([pending[0]?.label, pending[0]?.clientLabel]).toEqual(["next run", "by lua"]);
  void waiter.end();
});

test.each(["lua", "set"])("scheme %s tells leaders and candidates from others", async (scheme) => {
  const [name, plain] = [unique(), unique()];
  const locks = { lua, set }[scheme] as LockManager;
  await using _ = await locks.acquire(plain);
  const terms = locks.elect(name);
  await terms.next();
  const leave = new AbortController();
  const candidate = lua.elect(name, { signal: leave.signal }).next();
  await until(async () => (await lua.query({ name })).pending.length === 1, "the candidate waited");
  const { held, pending } = await lua.query({ name });
  expect([held[0]?.inElection, pending[0]?.inElection]).toEqual([true, true]);
  expect((await lua.query({ name: plain })).held[0]?.inElection).toBe(false);
  leave.abort();
  await candidate;
  await terms.return();
});

test("a server whose SCAN goes around in circles is an error, and not a question without an end", async () => {
  class Circling extends Redis {
    override sendCommand(...args: Parameters<Redis["sendCommand"]>): unknown {
      const sent = super.sendCommand(...args) as Promise<[string, string[]]>;
      return args[0].name === "scan" ? sent.then(([, keys]) => ["7", keys]) : sent;
    }
  }
  const redis = new Circling(world.server!.url);
  await using locks = new LockManager(redis);
  try {
    expect((await rejection(locks.query())) as SchemeError).toMatchObject({
      code: "server",
      message: expect.stringContaining('the cursor "7" twice') as string,
    });
  } finally {
    redis.disconnect();
  }
});

test("a holder whose manager is not known any more has an empty clientLabel", async () => {
  const name = unique();
  await using lock = await lua.acquire(name);
  const client = `lock:client:${lock.token.split(":")[0]}`;
  await until(() => world.redis.exists(client), "its manager was known");
  await world.redis.del(client);
  for (const locks of [lua, set]) expect((await locks.query({ name })).held).toMatchObject([{ clientLabel: "" }]);
});
