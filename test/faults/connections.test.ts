/** Lines that lose replies or break, and clients that are set up in unusual ways. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { describe, expect, test } from "vitest";
import type { LockManager, RedisClient } from "../../src/index.ts";
import { enqueue, hold, rejection, unique, waiting } from "../support/locks.ts";
import {
  type Cast,
  type Finishing,
  cleared,
  connections,
  leftovers,
  listening,
  openStage,
  unhandledRejections,
} from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clientNames, sendsAhead } from "../support/worlds.ts";

const schemes = ["lua", "set"] as const;
const everywhere = schemes.flatMap((scheme) => clientNames.map((on) => ({ scheme, on })));

/** A push takes milliseconds, a poke seconds. */
const BEFORE_ANY_POKE = 3_000;

/** Take the lock once, so that scripts are loaded and what is asked only once is known. */
async function warmUp(locks: LockManager): Promise<void> {
  await (await locks.acquire(unique())).release();
}

describe.concurrent("when replies are lost", () => {
  test.for(everywhere.filter(sendsAhead))(
    "an acquire that is sent again is granted once ($scheme on $on)",
    async (kind, t) => {
      const stage = await openStage(t);
      const proxy = await stage.proxy();
      const locks = await stage.manager({ ...kind, url: proxy.url });
      await warmUp(locks);
      const name = unique();
      let calls = 0;
      proxy.dropReplies();
      const request = locks.request(name, () => ++calls);
      await until(() => stage.redis.exists(`lock:${name}`), "the lock had been granted");
      const value = await stage.redis.get(`lock:${name}`);
      await proxy.heal();
      expect(await request).toBe(1);
      expect(calls).toBe(1);
      expect(value).toMatch(/^[\w-]{22}:\w+/);
      await cleared(stage.redis);
    },
  );

  test.for(everywhere.filter(sendsAhead))(
    "an acquire that was given up leaves nothing behind ($scheme on $on)",
    async (kind, t) => {
      const stage = await openStage(t);
      const rejections = unhandledRejections(t);
      const proxy = await stage.proxy();
      const locks = await stage.manager({ ...kind, url: proxy.url });
      await warmUp(locks);
      const [timed, aborted] = [unique("timed"), unique("aborted")];
      const abort = new AbortController();
      proxy.dropReplies();
      const one = rejection(locks.acquire(timed, { waitTimeout: 300 }));
      const other = rejection(locks.acquire(aborted, { signal: abort.signal }));
      await until(() => stage.redis.exists(`lock:${aborted}`), "the lock had been granted");
      abort.abort("enough");
      expect(await other).toBe("enough");
      expect(await one).toMatchObject({ code: "timeout" });
      await proxy.heal();
      await cleared(stage.redis);
      expect(rejections).toEqual([]);
    },
  );

  test.for(everywhere)("a release that has run is no loss ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const locks = await stage.manager({ ...kind, url: proxy.url });
    await warmUp(locks);
    const name = unique();
    const request = locks.request(name, (lock) => {
      proxy.dropReplies();
      const { signal } = lock;
      return { signal };
    });
    await until(() => proxy.swallowed > 0, "a reply had been lost");
    // The set scheme reads before it deletes where the server cannot compare: its release goes no further than that.
    if (kind.scheme === "lua")
      await until(async () => (await leftovers(stage.redis)).length === 0, "the lock was free");
    await proxy.heal();
    expect((await request).signal.aborted).toBe(false);
    await cleared(stage.redis);
  });

  test("a waiter withdrawn from a line that was down is not in the queue when the line is back", async (t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const locks = await stage.manager({ url: proxy.url, settings: { maxRetriesPerRequest: 0 } });
    const abort = new AbortController();
    const refused = rejection(locks.acquire(name, { signal: abort.signal, ttl: 50 }));
    await waiting(await stage.manager(), name, 1);
    await proxy.refuse();
    abort.abort("enough");
    expect(await refused).toBe("enough");
    // Much longer than the ttl: a waiter's entry does not end with it.
    const later = performance.now() + 500;
    await until(() => performance.now() > later, "the line had been down for a while");
    await proxy.heal();
    await until(async () => (await stage.redis.zcard(`{lock:${name}}:queue`)) === 0, "the queue was empty", 10_000);
    await holder.end();
  });
});

describe.concurrent("when the server breaks connections", () => {
  test.for(clientNames)("holders, waiters and pushes come back (%s)", async (on, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const name = unique();
    const holder = await hold(await stage.manager({ on }), name);
    const locks = await stage.manager({ on });
    const waiters = [enqueue(locks, name), enqueue(locks, name), enqueue(locks, name)];
    await waiting(locks, name, 3);
    await listening(stage.redis, 2);
    const kill = async (type: string): Promise<void> => {
      const before = (await connections(stage.redis)).map(({ id }) => id);
      await stage.redis.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
      await until(async () => {
        const now = (await connections(stage.redis)).filter(({ id }) => !before.includes(id));
        return now.length >= 2;
      }, `two managers had connected again after ${type}`);
    };
    await kill("normal");
    await holder.end();
    const first = await until(() => waiters[0]!.granted, "the first was served", BEFORE_ANY_POKE);
    await kill("pubsub");
    await listening(stage.redis, 2);
    expect(first.held).toBe(true);
    await waiters[0]!.end();
    await until(() => waiters[1]!.granted, "the second was served", BEFORE_ANY_POKE);
    await kill("normal");
    await waiters[1]!.end();
    await until(() => waiters[2]!.granted, "the third was served", BEFORE_ANY_POKE);
    await waiters[2]!.end();
    await cleared(stage.redis);
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)("pushes are heard again when all connections were broken (%s)", async (on, t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager({ on }), name);
    const waiter = enqueue(await stage.manager({ on }), name);
    await listening(stage.redis, 2);
    const before = new Set((await connections(stage.redis)).map(({ id }) => id));
    await stage.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await stage.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    const again = async (): Promise<boolean> =>
      (await connections(stage.redis)).filter(({ id, sub }) => Number(sub) > 0 && !before.has(id)).length === 2;
    await until(again, "2 managers listened again");
    await holder.end();
    await until(() => waiter.granted, "the waiter was served", BEFORE_ANY_POKE);
    await waiter.end();
  });

  test.for(clientNames)("the set scheme's connection for WATCH is opened again (%s)", async (on, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const locks = await stage.manager({ on, scheme: "set" });
    await warmUp(locks);
    const lock = await locks.acquire(unique());
    const watching = (await connections(stage.redis)).filter(({ cmd }) => /exec|unwatch|watch/i.test(cmd ?? ""));
    t.skip(watching.length === 0, "This server compares and deletes by itself: no WATCH is needed.");
    for (const { id } of watching) await stage.redis.client("KILL", "ID", id!);
    await lock.release();
    await cleared(stage.redis);
    await warmUp(locks);
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)("a connection for WATCH that broke while nobody used it fails no call (%s)", async (on, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ on, scheme: "set" });
    await warmUp(locks);
    const name = unique();
    const lock = await locks.acquire(name);
    const idle = (await connections(stage.redis)).filter(({ cmd }) => /exec|unwatch|watch/i.test(cmd ?? ""));
    t.skip(idle.length === 0, "This server compares and deletes by itself: no WATCH is needed.");
    for (const { id } of idle) await stage.redis.client("KILL", "ID", id!);
    // The client hears that the connection is closed before it hears the answers to what was sent later.
    for (let i = 0; i < 3; i++) await locks.query();
    expect(await locks.forceRelease(name)).toHaveLength(1);
    expect(await lock.release()).toBe(false);
  });
});

describe.concurrent("a client that was set up in its own way gets pushes, and gives back what it took:", () => {
  const casts: Record<string, Cast> = {
    "ioredis with db": { settings: { db: 2 } },
    "ioredis with stringNumbers": { settings: { stringNumbers: true } },
    "ioredis with lazyConnect": { settings: { lazyConnect: true } },
    "ioredis with enableAutoPipelining": { settings: { enableAutoPipelining: true } },
    "ioredis with showFriendlyErrorStack": { settings: { showFriendlyErrorStack: true } },
    "node-redis with database": { on: "node-redis 6", settings: { database: 2 } },
    "node-redis with RESP 2": { on: "node-redis 6", settings: { RESP: 2 } },
    "node-redis with RESP 3": { on: "node-redis 6", settings: { RESP: 3 } },
    "node-redis with disableOfflineQueue": { on: "node-redis 6", settings: { disableOfflineQueue: true } },
  };

  async function change(t: Finishing, title: string, cast: Cast, url: string): Promise<Cast> {
    if (title !== "node-redis with RESP 3") return cast;
    // Numbers and maps as the user wants them for his own commands.
    const client = createClient({ url, RESP: 3, commandOptions: { typeMapping: { 58: String } } });
    client.on("error", () => {});
    await client.connect();
    t.onTestFinished(() => client.destroy());
    return { client: client as unknown as RedisClient };
  }

  test.for(Object.entries(casts))("%s", async ([title, given], t) => {
    const stage = await openStage(t);
    const cast = await change(t, title, given, stage.server.url);
    const [locks, other] = [
      await stage.manager(cast),
      await stage.manager(await change(t, title, given, stage.server.url)),
    ];
    const name = unique();
    const holder = await hold(locks, name);
    const waiter = enqueue(other, name);
    await waiting(other, name, 1);
    await listening(stage.redis, 2);
    await holder.end();
    const lock = await until(() => waiter.granted, "the waiter was served", BEFORE_ANY_POKE);
    expect(Number.isSafeInteger(lock.fence)).toBe(true);
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    await lock.extend(60_000);
    const db = cast.settings && ("db" in cast.settings || "database" in cast.settings) ? 2 : 0;
    if (db) {
      expect(await stage.redis.dbsize()).toBe(0);
      await stage.redis.select(2);
    }
    const keys = await stage.redis.keys(`*lock:${name}`);
    expect(keys).toHaveLength(1);
    const { held } = await locks.query({ name });
    expect(held).toMatchObject([{ token: lock.token, fence: lock.fence }]);
    await waiter.end();
    await cleared(stage.redis);
    const set = await stage.manager({ ...cast, scheme: "set" });
    const plain = await set.acquire(name, { ttl: 3_000 });
    expect(plain.fence).toBeGreaterThan(lock.fence);
    await plain.extend(5_000);
    expect(await other.tryAcquire(name)).toBeNull();
    expect(await plain.release()).toBe(true);
    await cleared(stage.redis);
  });

  test("ioredis over a unix socket", async (t) => {
    const stage = await openStage(t);
    const client = new Redis(stage.server.socketPath);
    t.onTestFinished(() => client.disconnect());
    const locks = await stage.manager({ client });
    const name = unique();
    const holder = await hold(locks, name);
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 1);
    await listening(stage.redis, 1);
    await holder.end();
    await until(() => waiter.granted, "the waiter was served", BEFORE_ANY_POKE);
    await waiter.end();
  });
});
