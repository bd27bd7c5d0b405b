/** Looking at locks that were not made by the scheme that looks. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LockManager, SchemeError } from "../src/index.ts";
import { rejection, unique } from "./support/locks.ts";
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
  const lock = await (managers[holds] as LockManager).acquire(name, { label: "its own", ttl: 300 });
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
