/** What is said when the server or the client cannot do its part: always a typed error, in bounded time. */
import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import * as redis4 from "redis4";
import { describe, expect, test } from "vitest";
import { LockManager, LockTimeoutError, SchemeError } from "../../src/index.ts";
import { expectTypeError, hold, rejection, unique } from "../support/locks.ts";
import {
  type Cast,
  type Stage,
  calls,
  cleared,
  connectClient,
  leftovers,
  onEach,
  openStage,
  unhandledRejections,
} from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clientNames } from "../support/worlds.ts";

/** A failing server is asked for 5 s; the question that is out then has 5 s of its own. Mostly it takes 5 s in all. */
const BOUND = 11_000;

const schemes = ["lua", "set"] as const;
const everywhere = schemes.flatMap((scheme) => clientNames.map((on) => ({ scheme, on })));

/** What a request is rejected with: a SchemeError with a cause, in time. */
async function failure(locks: LockManager, name = unique()): Promise<SchemeError> {
  const failed = rejection(locks.request(name, () => expect.fail("The lock was granted.")));
  const error = await until(() => failed, "the request failed", BOUND);
  expect(error).toBeInstanceOf(SchemeError);
  const { causes, cause, message } = error as SchemeError;
  expect(cause).toBeDefined();
  expect(causes).toContain(cause);
  // What came, what to do, and where to read more.
  expect(message).toMatch(/^\S.+\. [A-Z].+\. \(holdfast\/docs\/troubleshooting\.md#[a-z-]+\)$/);
  return error as SchemeError;
}

async function user(stage: Stage, ...rules: string[]): Promise<string> {
  await stage.redis.call("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", ...rules);
  // Before 6.2 channels were everybody's.
  await stage.redis.call("ACL", "SETUSER", "worker", "allchannels").catch(() => {});
  return stage.server.url.replace("//", "//worker:pw@");
}

describe.concurrent("a server that", () => {
  test("is down is unreachable, within the time limit", async (t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    await proxy.refuse();
    await onEach(everywhere, async (kind) => {
      const error = await failure(await stage.manager({ ...kind, url: proxy.url }));
      expect(error).toMatchObject({ code: "unreachable", transient: true });
      expect(error.message).toContain("Check that it runs");
    });
    expect(rejections).toEqual([]);
  });

  test("is down, or never answers, is what a waitTimeout blames that ends before that is an error", async (t) => {
    const stage = await openStage(t);
    await onEach(everywhere, async (kind) => {
      for (const fault of ["refuse", "blackHole"] as const) {
        const proxy = await stage.proxy();
        const locks = await stage.manager({ ...kind, url: proxy.url });
        await (await locks.acquire(unique())).release();
        await proxy[fault]();
        const error = await rejection(locks.acquire(unique(), { waitTimeout: 400 }));
        expect(error).toBeInstanceOf(LockTimeoutError);
        expect(error).toMatchObject({
          message: expect.stringMatching(
            /: the server (cannot be reached|has not answered)\. \(holdfast\/docs\/troubleshooting\.md#timeout\)$/,
          ),
        });
        await proxy.heal();
      }
    });
  });

  test("is down is not taken for one without locks: query rejects", async (t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    await proxy.refuse();
    const locks = await stage.manager({ url: proxy.url, settings: { maxRetriesPerRequest: 0 } });
    expect(await rejection(locks.query())).toMatchObject({ code: "unreachable" });
  });

  test("never answers is unreachable, within the time limit", async (t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t);
    await onEach(everywhere, async (kind) => {
      const proxy = await stage.proxy();
      const locks = await stage.manager({ ...kind, url: proxy.url });
      await (await locks.acquire(unique())).release();
      proxy.blackHole();
      expect(await failure(locks)).toMatchObject({ code: "unreachable", transient: true });
      await proxy.heal();
    });
    await cleared(stage.redis);
    expect(rejections).toEqual([]);
  });

  test.for(everywhere)("wants a password is not authorized ($scheme on $on)", async (kind, t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t, { args: ["--requirepass", "secret"] });
    const none = await failure(await stage.manager(kind));
    expect(none.code).toBe("not-authorized");
    expect(none.message).toMatch(/NOAUTH|Authentication required|unauthenticated/i);
    expect(none.message).toContain("user and password");
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)("was told the wrong password is not authorized (%s)", async (on, t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t, { args: ["--requirepass", "secret"] });
    const error = await failure(await stage.manager({ on, url: stage.server.url.replace("//", "//:wrong@") }));
    expect(error.code).toBe("not-authorized");
    expect(error.message).toContain("user and password");
    expect(rejections).toEqual([]);
  });

  test.for(everywhere)("does not let the user at the keys is not authorized ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const url = await user(stage, "resetkeys", "~other:*");
    const error = await failure(await stage.manager({ ...kind, url }));
    expect(error.code).toBe("not-authorized");
    expect(error.message).toMatch(/NOPERM|permission/i);
    expect(await leftovers(stage.redis)).toEqual([]);
  });

  test.for(clientNames)("lets scripts run but not what they do is not authorized (%s)", async (on, t) => {
    const stage = await openStage(t);
    const url = await user(stage, "-set", "-incr");
    expect((await failure(await stage.manager({ on, url }))).code).toBe("not-authorized");
    expect((await failure(await stage.manager({ on, url, scheme: "set" }))).code).toBe("not-authorized");
    expect(await leftovers(stage.redis)).toEqual([]);
  });

  test.for(clientNames)("has no scripting says so; the set scheme works there (%s)", async (on, t) => {
    const stage = await openStage(t);
    const url = await user(stage, "-eval", "-evalsha", "-script");
    const error = await failure(await stage.manager({ on, url }));
    expect(error.code).toBe("no-scripting");
    expect(error.message).toContain('{ scheme: "set" }');
    const set = await stage.manager({ on, url, scheme: "set" });
    const { end } = await hold(set, unique(), { ttl: 3_000 });
    await end();
    await cleared(stage.redis);
  });

  test("is a replica is read-only", async (t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t, { args: ["--replicaof", "127.0.0.1", "1"] });
    await onEach(everywhere, async (kind) => {
      const error = await failure(await stage.manager(kind));
      expect(error).toMatchObject({ code: "read-only", transient: true });
      expect(error.message).toContain("Connect to a primary");
    });
    // Asked again while it may change, but with pauses that grow.
    expect(await calls(stage.redis, "evalsha", "eval", "multi")).toBeLessThan(everywhere.length * 30);
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)(
    "was a replica and becomes a primary grants the lock that was asked for (%s)",
    async (on, t) => {
      const stage = await openStage(t, { args: ["--replicaof", "127.0.0.1", "1"] });
      const request = (await stage.manager({ on })).acquire(unique());
      // GLIDE first asks for a server's role, and a replica for nothing else.
      const question = on === "glide" ? "info" : "evalsha";
      await until(async () => (await calls(stage.redis, question)) > 1, "it had been asked twice");
      await stage.redis.replicaof("NO", "ONE");
      expect((await until(() => request, "the lock was granted", BOUND)).held).toBe(true);
    },
  );

  test.for(everywhere)("is out of memory says so ($scheme on $on)", async (kind, t) => {
    const rejections = unhandledRejections(t);
    const stage = await openStage(t);
    const locks = await stage.manager(kind);
    // Under WATCH nothing can be renewed or deleted now: what the set scheme holds ends with its lease.
    const holder = await hold(locks, unique(), { ttl: kind.scheme === "lua" ? 30_000 : 2_000, renew: false });
    await stage.redis.config("SET", "maxmemory", "1");
    const error = await failure(locks);
    expect(error).toMatchObject({ code: "out-of-memory", transient: true });
    expect(error.message).toContain("maxmemory");
    if (kind.scheme === "lua") await holder.lock.extend(60_000);
    await holder.end();
    await cleared(stage.redis);
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)("is out of memory renews leases of every kind (%s)", async (on, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ on });
    const held = await Promise.all([
      locks.acquire(unique()),
      locks.acquire(unique(), { mode: "shared" }),
      locks.semaphore(unique(), 3).acquire({ permits: 2 }),
    ]);
    await stage.redis.config("SET", "maxmemory", "1");
    // In one call, then one after the other.
    await Promise.all(held.map((lock) => lock.extend()));
    for (const lock of held) await lock.extend(60_000);
    expect(held.map((lock) => lock.held)).toEqual([true, true, true]);
    for (const lock of held) expect(await lock.release()).toBe(true);
  });

  test("reads its data says that it is loading", async (t) => {
    // Each key takes 1 ms to read. The server answers after so many bytes, which it cannot be told before 6.2: 2 MB.
    const slowly = ["--key-load-delay", "1000", "--rdbcompression", "no"];
    const often = ["--loading-process-events-interval-bytes", "1024"];
    const stage = await openStage(t, { args: [...slowly, ...often] }).catch(() => openStage(t, { args: slowly }));
    const told = await stage.redis.config("GET", "loading-process-events-interval-bytes");
    await stage.redis.call("DEBUG", "POPULATE", "9000", "filler", told.length > 0 ? "10" : "4000");
    await stage.redis.save();
    await stage.server.crash();
    stage.server.start().catch(() => {}); // resolves when all has been read, which the test does not wait for
    t.onTestFinished(() => stage.server.crash());
    await onEach(everywhere, async (kind) => {
      // An ioredis client asks by itself whether the server is loading, unless told not to.
      const settings = kind.on === "node-redis 6" ? {} : { enableReadyCheck: false };
      const error = await failure(await stage.manager({ ...kind, settings }));
      expect(error).toMatchObject({ code: "loading", transient: true });
      expect(error.message).toContain("LOADING");
    });
  });

  test("cannot write to its disk is read-only for now", async (t) => {
    const stage = await openStage(t);
    // The file that it would write is a folder.
    await mkdir(join(stage.server.dir, "dump.rdb", "taken"), { recursive: true });
    await stage.redis.config("SET", "save", "3600 1");
    await stage.redis.bgsave();
    await until(async () => /rdb_last_bgsave_status:err/.test(await stage.redis.info("persistence")), "a save failed");
    const error = await failure(await stage.manager());
    expect(error.code).toBe("read-only");
    expect(error.message).toContain("MISCONF");
  });

  test.for(clientNames)("talks of something else is a server that failed (%s)", async (on, t) => {
    const listener = createServer((socket) => socket.on("data", () => socket.write("-ERR no such thing here\r\n")));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    t.onTestFinished(() => void listener.close());
    const { port } = listener.address() as { port: number };
    const { client, end } = await connectClient(on, `redis://127.0.0.1:${port}`);
    t.onTestFinished(end);
    const locks = new LockManager(client);
    t.onTestFinished(() => void locks.close());
    expect(["server", "unreachable"]).toContain((await failure(locks)).code);
  });
});

describe.concurrent("a key of another type", () => {
  for (const [type, write] of Object.entries({
    list: (redis: Redis, key: string) => redis.rpush(key, "1"),
    hash: (redis: Redis, key: string) => redis.hset(key, "a", "1"),
    set: (redis: Redis, key: string) => redis.sadd(key, "1"),
    "sorted set": (redis: Redis, key: string) => redis.zadd(key, "1", "a", "2", "b"),
    stream: (redis: Redis, key: string) => redis.xadd(key, "*", "a", "1"),
  })) {
    test(`(${type}) fails the request that named it, and no other of the same turn`, async (t) => {
      const stage = await openStage(t);
      for (const scheme of schemes) {
        const locks = await stage.manager({ scheme });
        const bad = unique("bad");
        await write(stage.redis, `lock:${bad}`);
        const content = await stage.redis.dumpBuffer(`lock:${bad}`);
        const good = [unique(), unique()];
        const [one, error, other] = await Promise.all([
          locks.request(good[0]!, (lock) => lock.held),
          failure(locks, bad),
          locks.request(good[1]!, (lock) => lock.held),
        ]);
        expect([one, other]).toEqual([true, true]);
        expect(error).toMatchObject({ code: "wrong-type", transient: false });
        expect(error.message).toContain("another name or prefix");
        expect(await stage.redis.dumpBuffer(`lock:${bad}`)).toEqual(content);
        expect(await leftovers(stage.redis)).toEqual([`lock:${bad}`]);
        await stage.redis.del(`lock:${bad}`);
      }
    });
  }

  test.for(schemes)("does not keep query from telling of the locks (%s)", async (scheme, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ scheme });
    await stage.redis.rpush("lock:a list", "1");
    await stage.redis.hset("lock:a hash", "a", "1");
    await using lock = await locks.acquire("a lock");
    const { held } = await locks.query();
    expect(held).toMatchObject([{ name: "a lock", token: lock.token }]);
  });
});

describe("a client that", () => {
  test("was never connected is said to be", async (t) => {
    const stage = await openStage(t);
    const locks = new LockManager(createClient({ url: stage.server.url }));
    const error = await failure(locks);
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("never connected: connect it first");
    await locks.close();
  });

  test.for(clientNames)("is closed is said to be, at once (%s)", async (on, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const { client, end } = await connectClient(on, stage.server.url);
    const locks = new LockManager(client);
    await (await locks.acquire(unique())).release();
    end();
    const error = await failure(locks);
    expect(error).toMatchObject({ code: "unreachable", transient: false });
    expect(error.message).toContain("is closed");
    await locks.close();
    expect(rejections).toEqual([]);
  });

  const cluster = new Cluster([{ host: "127.0.0.1", port: 1 }], { lazyConnect: true });
  const strangers: [string, unknown, string][] = [
    ["an empty object", {}, "an object (Object)"],
    ["null", null, "null"],
    ["a class of clients", Redis, "function Redis"],
    ["an array of none", [{}, {}], "an object (Object)"],
    ["an empty array", [], "an array of 0"],
    ["a number", 6379, "6379"],
    ["an array with a Cluster in it", [new Redis({ lazyConnect: true }), cluster], "a Cluster as node 2"],
    ["a Map", new Map(), "an object (Map)"],
    ["of node-redis 4", redis4.createClient(), "one of an older version"],
    ["a cluster client of node-redis 4", redis4.createCluster({ rootNodes: [] }), "one of an older version"],
  ];
  test.each(strangers)("is none (%s) is refused with a TypeError that says what came", (_, client, came) => {
    let thrown: unknown;
    try {
      void new LockManager(client as Cast["client"]);
    } catch (error) {
      thrown = error;
    }
    expectTypeError(thrown);
    expect((thrown as TypeError).message).toContain(came);
    expect((thrown as TypeError).message).toMatch(/^Expected/);
  });
});
