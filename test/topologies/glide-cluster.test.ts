/** GLIDE's cluster client: each command at its server, and pushes from where the lock lives, also when it has moved. */
import { Redis } from "ioredis";
import calculateSlot from "cluster-key-slot";
import type { GlideClusterClient } from "@valkey/valkey-glide";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Server, startServer } from "../../scripts/servers.ts";
import { systemClock } from "../../src/clock.ts";
import { TimeLimit } from "../../src/drivers/time-limit.ts";
import { driverFor } from "../../src/drivers/index.ts";
import { LockManager, type ManagerOptions } from "../../src/index.ts";
import { WatchCompare } from "../../src/schemes/set/watch.ts";
import { enqueue, hold, rejection, unique } from "../support/locks.ts";
import { connections } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** A push takes milliseconds, a poke seconds. */
const BEFORE_ANY_POKE = 2_000;

const servers: Server[] = [];
const nodes: Redis[] = [];

beforeAll(async () => {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
  servers.push(...(await Promise.all([1, 2, 3].map(() => startServer({ args })))));
  nodes.push(...servers.map(({ url }) => new Redis(url)));
  const slots = (first: number, last: number): string[] =>
    Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
  const parts = [slots(0, 5_460), slots(5_461, 10_922), slots(10_923, 16_383)];
  await Promise.all(nodes.map((node, i) => node.call("CLUSTER", "ADDSLOTS", ...parts[i]!)));
  for (const { port } of servers.slice(1)) await nodes[0]!.cluster("MEET", "127.0.0.1", port);
  const whole = async (node: Redis): Promise<boolean> => /cluster_state:ok/.test(await node.cluster("INFO"));
  await until(async () => (await Promise.all(nodes.map(whole))).every(Boolean), "the cluster was whole", 20_000);
  await until(async () => String(await nodes[2]!.cluster("NODES")).match(/connected/g)?.length === 3, "all had met");
});

afterAll(async () => {
  for (const node of nodes) node.disconnect();
  await Promise.all(servers.map((server) => server.stop()));
});

async function open(settings: object = {}): Promise<GlideClusterClient> {
  const { GlideClusterClient: Client, Logger } = await import("@valkey/valkey-glide");
  Logger.setLoggerConfig("off");
  const addresses = [{ host: "127.0.0.1", port: servers[0]!.port }];
  const client = await Client.createClient({ addresses, requestTimeout: 2_000, ...settings });
  onTestFinished(() => client.close());
  return client;
}

async function manager(options: ManagerOptions = {}): Promise<LockManager> {
  const locks = new LockManager(await open(), options);
  onTestFinished(() => locks.close());
  return locks;
}

async function ownerOf(key: string): Promise<{ node: Redis; id: string; index: number }> {
  const slot = calculateSlot(key);
  for (const [index, node] of nodes.entries()) {
    const id = String(await node.cluster("MYID"));
    const rows = (await node.call("CLUSTER", "SLOTS")) as [number, number, [string, number, string]][];
    if (rows.some(([first, last, [, , owner]]) => first <= slot && slot <= last && owner === id))
      return { node, id, index };
  }
  throw new Error(`Nobody keeps slot ${slot}.`);
}

/** Give the key's slot to the next server, with all that is in it. */
async function move(key: string): Promise<void> {
  const slot = calculateSlot(key);
  const from = await ownerOf(key);
  const target = nodes[(from.index + 1) % 3]!;
  const id = String(await target.cluster("MYID"));
  await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id);
  await from.node.call("CLUSTER", "SETSLOT", slot, "MIGRATING", id);
  const keys = (await from.node.call("CLUSTER", "GETKEYSINSLOT", slot, 1_000)) as string[];
  const { port } = servers[(from.index + 1) % 3]!;
  if (keys.length > 0) await from.node.call("MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", ...keys);
  await target.call("CLUSTER", "SETSLOT", slot, "NODE", id);
  for (const node of nodes) await node.call("CLUSTER", "SETSLOT", slot, "NODE", id);
}

async function leftovers(): Promise<string[]> {
  const keys = (await Promise.all(nodes.map((node) => node.keys("*")))).flat();
  return keys.filter((key) => !key.endsWith(":fence") && !/client:[\w-]{22}$/.test(key));
}

async function subscribers(): Promise<number> {
  const all = (await Promise.all(nodes.map(connections))).flat();
  return all.reduce((sum, { sub, ssub }) => sum + Number(sub) + Number(ssub ?? 0), 0);
}

describe.each(["lua", "set"] as const)("the scheme %s", (scheme) => {
  test("locks, waits, hands over, extends, releases and queries locks on every server", async () => {
    const [a, b] = [await manager({ scheme }), await manager({ scheme })];
    const names = Array.from({ length: 30 }, () => unique());
    const fences = new Map<string, number>();
    const holders = await Promise.all(names.map((name) => hold(a, name)));
    for (const { lock } of holders) fences.set(lock.name, lock.fence);
    const used = await Promise.all(nodes.map(async (node) => (await node.keys("lock:*")).length));
    expect(used.every((count) => count > 0)).toBe(true);
    expect(await b.tryAcquire(names[0]!)).toBeNull();
    const waiters = names.map((name) => enqueue(b, name));
    expect((await a.query("all")).held.map(({ name }) => name).sort()).toEqual([...names].sort());
    await Promise.all(holders.map(({ end }) => end()));
    const locks = await Promise.all(waiters.map(({ granted }) => granted));
    for (const lock of locks) expect(lock.fence).toBeGreaterThan(fences.get(lock.name)!);
    await Promise.all(locks.map((lock) => lock.extend(60_000)));
    expect(locks.every(({ remaining }) => remaining > 50_000)).toBe(true);
    await Promise.all(waiters.map(({ end }) => end()));
    await until(async () => (await leftovers()).length === 0, "nothing was left");
  });
});

describe("a push", () => {
  test("comes from the server of the lock's slot", async () => {
    const [a, b] = [await manager(), await manager()];
    const names = Array.from({ length: 6 }, () => unique());
    const before = await subscribers();
    const holders = await Promise.all(names.map((name) => hold(a, name)));
    const waiters = names.map((name) => enqueue(b, name));
    await until(async () => (await subscribers()) >= before + 6, "it listened for all");
    await Promise.all(holders.map(({ end }) => end()));
    await until(() => Promise.all(waiters.map(({ granted }) => granted)), "all were granted", BEFORE_ANY_POKE);
    await Promise.all(waiters.map(({ end }) => end()));
  });

  test("comes again after the slot has moved, and after its connections were lost", async () => {
    const [a, b] = [await manager(), await manager()];
    const name = unique();
    const [up, heard] = [{ count: 0 }, [] as string[]];
    const driver = driverFor(await open());
    onTestFinished(() => driver.close());
    const channel = `{lock:${name}}:probe`;
    const subscription = driver.subscribe(channel, {
      message: (text) => void heard.push(text),
      up: () => void up.count++,
    });
    onTestFinished(() => subscription.close());
    await until(() => up.count > 0, "the probe was up");
    const publish = async (text: string): Promise<void> => {
      const { node } = await ownerOf(`lock:${name}`);
      await until(async () => {
        // Before 7.0 there are no channels of slots.
        await node.call("SPUBLISH", channel, text).catch(() => node.publish(channel, text));
        return heard.includes(text);
      }, `${text} was heard`);
    };
    await publish("at first");
    const first = await hold(a, name);
    const [second, third] = [enqueue(b, name), enqueue(b, name)];
    await until(async () => (await a.query({ name })).pending.length === 2, "two waited");
    await move(`lock:${name}`);
    await publish("moved");
    const { node: owner } = await ownerOf(`lock:${name}`);
    const counted = async (): Promise<boolean> => {
      const sharded = owner.call("PUBSUB", "SHARDNUMSUB", channel);
      const [, count] = (await sharded.catch(() => owner.pubsub("NUMSUB", channel))) as [string, number];
      return Number(count) === 1;
    };
    await until(counted, "it listened at the other server");
    await first.end();
    // Who is released to while its channel is on the way is not told, and asks by itself some seconds later.
    await until(() => second.granted, "the second was granted", 10_000);
    const ups = up.count;
    for (const node of nodes) await node.call("CLIENT", "KILL", "TYPE", "pubsub");
    await publish("killed");
    await until(() => up.count > ups && subscription.up, "it was said to be up again");
    await second.end();
    await until(() => third.granted, "the third was granted", 10_000);
    await third.end();
    await until(async () => (await leftovers()).length === 0, "nothing was left");
  });
});

test("WATCH finds its server, also after the slot has moved, and deletes nothing that is not its own", async () => {
  const driver = driverFor(await open());
  const compare = new WatchCompare(driver, new TimeLimit(systemClock, driver));
  onTestFinished(() => {
    compare.close();
    driver.close();
  });
  const keys = Array.from({ length: 6 }, () => unique("key"));
  const put = (key: string, value: string): Promise<unknown> => driver.send(["SET", key, value, "PX", "60000"], key);
  const get = (key: string): Promise<unknown> => driver.send(["GET", key], key);
  for (const key of keys) {
    await put(key, "mine");
    expect(await compare.delete(key, "other")).toBe(false);
    expect(await compare.replace(key, "mine", "still mine", 60_000)).toBe(true);
    expect(await compare.delete(key, "still mine")).toBe(true);
  }
  const [key = ""] = keys;
  await put(key, "mine");
  await move(key);
  const deleted = await until(() => compare.delete(key, "mine"), "it had found the other server");
  expect(deleted).toBe(true);
  expect(await get(key)).toBeNull();
});

test("commands in order are carried by one server, or said not to be", async () => {
  const driver = driverFor(await open());
  onTestFinished(() => driver.close());
  const key = unique("key");
  const sha = "a".repeat(40);
  const commands = [
    ["SET", key, "1"],
    ["INCR", key],
    ["EVALSHA", sha, "1", key],
    ["WAIT", "0", "10"],
  ];
  const replies = await driver.inOrder(commands, key);
  expect(replies).toEqual(["OK", 2, expect.any(Error), 0]);
  expect((replies[2] as Error).message).toMatch(/^NOSCRIPT/);
  await move(key);
  expect(String(await rejection(driver.inOrder(commands, key)))).toContain("moved");
  expect(await driver.inOrder([["GET", key]], key)).toEqual(["2"]);
});

test("MULTI goes to the server of its keys, and follows them", async () => {
  const driver = driverFor(await open());
  onTestFinished(() => driver.close());
  const key = unique("key");
  const commands = [
    ["SET", key, "1", "NX"],
    ["INCR", key],
    ["PEXPIRE", key, "60000"],
  ];
  expect(await driver.transaction(commands, key)).toEqual(["OK", 2, 1]);
  await move(key);
  expect(await driver.transaction(commands, key)).toEqual([null, 3, 1]);
});
