/** A client whose user wants something before every key: locks lie behind it, as everything else of that client. */
import { Cluster, Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient, createCluster } from "redis";
import { describe, expect, test } from "vitest";
import { startCluster } from "../scripts/topologies.ts";
import { RedisFence } from "../src/fence.ts";
import { LockManager, type RedisClient } from "../src/index.ts";
import { hold, rejection, unique, waiting } from "./support/locks.ts";
import { connections, type Finishing, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

const keyPrefix = "shop:";

const kinds: Record<string, (t: Finishing, url: string) => Promise<RedisClient>> = {
  "ioredis 6": async (t, url) => {
    const client = new Redis(url, { keyPrefix });
    t.onTestFinished(() => client.disconnect());
    return client;
  },
  "ioredis 5": async (t, url) => {
    const client = new Redis5(url, { keyPrefix });
    t.onTestFinished(() => client.disconnect());
    return client;
  },
  "node-redis 6": async (t, url) => {
    const client = createClient({ url, keyPrefix });
    await client.connect();
    t.onTestFinished(() => client.destroy());
    return client;
  },
};

describe.each(Object.keys(kinds))("%s with a keyPrefix", (kind) => {
  async function open(t: Finishing) {
    const stage = await openStage(t);
    const manager = async (): Promise<LockManager> => {
      const locks = new LockManager(await kinds[kind]!(t, stage.server.url));
      t.onTestFinished(() => locks.close());
      return locks;
    };
    return { stage, a: await manager(), b: await manager() };
  }

  test("keeps locks under it, so that what else uses that client is excluded", async (t) => {
    const { stage, a } = await open(t);
    const name = unique();
    await using lock = await a.acquire(name);
    expect(await stage.redis.get(`shop:lock:${name}`)).toContain(lock.token);
    await stage.redis.set("shop:lock:other", "somebody", "PX", 60_000);
    expect(await a.tryAcquire("other")).toBeNull();
    expect((await stage.redis.keys("*")).filter((key) => !key.includes("shop:"))).toEqual([]);
  });

  test("hands locks on, and reports them by their names", async (t) => {
    const { a, b } = await open(t);
    const name = unique();
    const holder = await hold(a, name);
    const next = b.acquire(name);
    await waiting(a, name, 1);
    expect((await b.query()).held.map((each) => each.name)).toEqual([name]);
    await holder.end();
    const lock = await next;
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    expect(await lock.release()).toBe(true);
  });

  test("guards the keys that its user means", async (t) => {
    const { stage, a } = await open(t);
    const fence = new RedisFence(await kinds[kind]!(t, stage.server.url));
    t.onTestFinished(() => fence.close());
    await using lock = await a.acquire(unique());
    await fence.write(lock, "SET", "invoice", "paid");
    expect(await stage.redis.get("shop:invoice")).toBe("paid");
    expect(await stage.redis.exists("invoice", "{invoice}:guard")).toBe(0);
  });

  test("leaves no connection of ours behind when the manager is closed", async (t) => {
    const stage = await openStage(t);
    const client = await kinds[kind]!(t, stage.server.url);
    const before = async (): Promise<number> => (await connections(stage.redis)).length;
    await until(async () => (await before()) === 2, "the client was connected");
    const locks = new LockManager(client);
    await locks.request(unique(), { waitTimeout: 1_000 }, (lock) => lock.extend());
    await locks.close();
    await until(async () => (await before()) === 2, "only the client and the looker were connected");
  });
});

test(
  "on a Cluster all keys of a lock stay in one slot behind the client's keyPrefix",
  { timeout: 30_000 },
  async (t) => {
    const cluster = await startCluster({ replicasEach: 0 });
    t.onTestFinished(() => cluster.stop());
    const rootNodes = cluster.urls.map((url) => ({ url }));
    const clients = [
      new Cluster(cluster.seeds, { redisOptions: { keyPrefix } }),
      createCluster({ rootNodes, keyPrefix }),
    ];
    await clients[1]!.connect();
    t.onTestFinished(() => void clients.map((client) => client.disconnect()));
    const [a, b] = clients.map((client) => new LockManager(client as RedisClient)) as [LockManager, LockManager];
    t.onTestFinished(() => Promise.all([a.close(), b.close()]).then(() => undefined));
    for (const name of [unique(), unique("a{b}c")]) {
      const holder = await hold(a, name);
      const next = b.acquire(name);
      await waiting(a, name, 1);
      await holder.end();
      expect(await (await next).release()).toBe(true);
    }
  },
);

test("clients with different keyPrefixes are no nodes of one lock", async (t) => {
  const stage = await openStage(t);
  const clients = [{}, { keyPrefix }].map((settings) => stage.client(stage.server.url, settings));
  const refused = await rejection(Promise.resolve().then(() => new LockManager(clients)));
  expect(refused).toBeInstanceOf(TypeError);
  expect((refused as Error).message).toContain('got "" for node 1 and "shop:" for node 2');
});
