/** Several holders, several locks in one call, and keys of others: what the scheme `redlock` answers and does then. */
import { expect, test } from "vitest";
import type { LockManager } from "../src/index.ts";
import { unique } from "./support/locks.ts";
import { type Nodes, openNodes } from "./support/nodes.ts";
import { until } from "./support/until.ts";

/** Two that hold a shared lock, and a third manager. */
async function openShared(nodes: Nodes, name: string) {
  const managers = await Promise.all([1, 2, 3].map(() => nodes.manager()));
  const [a, b, other] = managers as [LockManager, LockManager, LockManager];
  const holders = await Promise.all([a, b].map((locks) => locks.acquire(name, { mode: "shared" })));
  const isHeld = async (): Promise<boolean> => {
    const counts = await Promise.all(nodes.redis.map((redis) => redis.zcard(`lock:${name}`)));
    return counts.every((count) => count === 2);
  };
  await until(isHeld, "all nodes knew both");
  return { holders, other };
}

test("steal takes a shared lock from all of its holders, who lose it at once", async (t) => {
  const nodes = await openNodes(t);
  const name = unique();
  const { holders, other } = await openShared(nodes, name);
  await using thief = await other.acquire(name, { steal: true });
  expect(thief.held).toBe(true);
  await until(() => holders.every(({ held }) => !held), "both had lost it");
  expect((await other.query({ name })).held).toMatchObject([{ token: thief.token, mode: "exclusive" }]);
});

test("forceRelease takes a shared lock from the holder that was expected, and leaves the other", async (t) => {
  const nodes = await openNodes(t);
  const name = unique();
  const { holders, other } = await openShared(nodes, name);
  const [robbed, left] = holders;
  expect(await other.forceRelease(name, [robbed!.token])).toMatchObject([{ token: robbed!.token }]);
  await until(() => !robbed!.held, "it was lost");
  expect(left!.held).toBe(true);
  expect((await other.query({ name })).held).toMatchObject([{ token: left!.token, mode: "shared" }]);
  expect(await left!.release()).toBe(true);
  await nodes.cleared();
});

test("another library's key on all nodes is reported as a holder without a token, and forceRelease frees it", async (t) => {
  const nodes = await openNodes(t);
  const name = unique();
  const locks = await nodes.manager();
  await Promise.all(nodes.redis.map((redis) => redis.set(`lock:${name}`, "theirs", "PX", 60_000)));
  expect(await locks.tryAcquire(name)).toBeNull();
  const [holder] = (await locks.query({ name })).held;
  expect(holder).toMatchObject({ mode: "exclusive", token: undefined, fence: undefined, clientId: "" });
  expect(holder!.remaining).toBeGreaterThan(30_000);
  expect(await locks.forceRelease(name)).toHaveLength(1);
  await using lock = await locks.acquire(name);
  expect(lock.held).toBe(true);
});

test("several locks of one manager are taken, renewed and released together on every node", async (t) => {
  const nodes = await openNodes(t);
  const locks = await nodes.manager();
  const names = [unique(), unique(), unique()];
  const held = await Promise.all(names.map((name) => locks.acquire(name)));
  await Promise.all(held.map((lock) => lock.extend(60_000)));
  const isLong = async (): Promise<boolean> => {
    const lefts = nodes.redis.flatMap((redis) => names.map((name) => redis.pttl(`lock:${name}`)));
    return (await Promise.all(lefts)).every((left) => left > 50_000);
  };
  await until(isLong, "all nodes had renewed all of them");
  expect(await Promise.all(held.map((lock) => lock.release()))).toEqual([true, true, true]);
  await nodes.cleared();
});

test("a node that lost a lock gets it back in the mode that it was downgraded to", async (t) => {
  const nodes = await openNodes(t);
  const name = unique();
  const [locks, other] = await Promise.all([nodes.manager(), nodes.manager()]);
  await using lock = await locks.acquire(name);
  await lock.downgrade();
  await nodes.redis[0]!.del(`lock:${name}`);
  await lock.extend(60_000);
  const type = (): Promise<string> => nodes.redis[0]!.type(`lock:${name}`);
  await until(async () => (await type()) !== "none", "the node knew it again");
  expect(await type()).toBe("zset");
  await using beside = await other.acquire(name, { mode: "shared" });
  expect([lock.held, beside.held]).toEqual([true, true]);
});
