/** Keys that others write: locks of other libraries, of our other scheme, and what is no lock at all. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import type { LockLostError } from "../../src/index.ts";
import { enqueue, hold, rejection, unique } from "../support/locks.ts";
import { type Finishing, cleared, leftovers, openStage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clientNames } from "../support/worlds.ts";

const schemes = ["lua", "set"] as const;
const everywhere = schemes.flatMap((scheme) => clientNames.map((on) => ({ scheme, on })));

/** Much shorter than the interval of pokes among ourselves. */
const SOON = 2_500;

/** What other libraries write, from their own sources: all of them SET a value of theirs, and compare to release. */
interface Library {
  readonly library: string;
  readonly prefix: string;
  acquire(redis: Redis, key: string, value: string): Promise<unknown>;
  value(): string;
}

const release = 'if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) else return 0 end';
const extend =
  'if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("pexpire", KEYS[1], ARGV[2]) else return 0 end';
const redlock = `
  if redis.call("exists", KEYS[1]) == 1 then return 0 end
  redis.call("set", KEYS[1], ARGV[1], "PX", ARGV[2])
  return 1`;

const libraries: Library[] = [
  {
    library: "redlock",
    prefix: "",
    acquire: (redis, key, value) => redis.eval(redlock, 1, key, value, 60_000),
    value: () => randomBytes(16).toString("hex"),
  },
  {
    library: "redis-semaphore",
    prefix: "mutex:",
    acquire: (redis, key, value) => redis.set(key, value, "PX", 60_000, "NX"),
    value: randomUUID,
  },
  {
    library: "medusa",
    prefix: "medusa_lock:",
    acquire: (redis, key, value) => redis.set(key, value, "EX", 60, "NX"),
    value: () => "worker-1",
  },
  {
    library: "a tutorial",
    prefix: "lock:",
    acquire: (redis, key) => redis.set(key, "1", "EX", 60, "NX"),
    value: () => "1",
  },
];

describe.concurrent.each(libraries)("a lock of $library", ({ prefix, acquire, value }) => {
  test.for(everywhere)("excludes ours and ours excludes it ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ ...kind, prefix });
    const name = unique();
    const [key, theirs] = [prefix + name, value()];
    expect([1, "OK"]).toContain(await acquire(stage.redis, key, theirs));
    expect(await locks.tryAcquire(name)).toBeNull();
    const waiter = enqueue(locks, name);
    const { held } = await locks.query({ name });
    expect(held).toMatchObject([{ name, clientId: "", token: undefined }]);
    expect(await stage.redis.eval(release, 1, key, theirs)).toBe(1);
    const lock = await until(() => waiter.granted, "the waiter was served", SOON);
    // Neither can be had, lengthened or given back by the other's rules.
    expect([0, null]).toContain(await acquire(stage.redis, key, theirs));
    expect(await stage.redis.eval(extend, 1, key, theirs, 600_000)).toBe(0);
    expect(await stage.redis.eval(release, 1, key, theirs)).toBe(0);
    expect(lock.held).toBe(true);
    await waiter.end();
    expect([1, "OK"]).toContain(await acquire(stage.redis, key, theirs));
  });
});

describe.concurrent("a foreign key", () => {
  test.for(everywhere)("without expiry is waited for like any other ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager(kind);
    const name = unique();
    await stage.redis.set(`lock:${name}`, "for ever");
    expect(await locks.tryAcquire(name)).toBeNull();
    const [first, second] = [enqueue(locks, name), enqueue(locks, name)];
    await until(async () => (await locks.query({ name })).held[0]?.remaining === undefined, "it was seen");
    await stage.redis.del(`lock:${name}`);
    const one = await until(() => Promise.race([first.granted, second.granted]), "one was served", SOON);
    await Promise.all([first.end(), second.end()]);
    expect(one.fence).toBeGreaterThan(0);
    await cleared(stage.redis);
  });

  test.for(everywhere)("is never deleted or lengthened by a late holder ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager(kind);
    const name = unique();
    const key = `lock:${name}`;
    const lock = await locks.acquire(name, { ttl: 60_000 });
    const { signal } = lock;
    await stage.redis.set(key, "theirs", "PX", 100_000);
    expect(await rejection(lock.extend(500_000))).toBe(signal.reason);
    expect((signal.reason as LockLostError).reason).toBe("stolen");
    expect(await lock.release()).toBe(false);
    expect(await stage.redis.get(key)).toBe("theirs");
    expect(await stage.redis.pttl(key)).toBeLessThanOrEqual(100_000);

    const other = await locks.acquire(`${name}2`, { ttl: 60_000 });
    await stage.redis.set(`${key}2`, "theirs", "PX", 100_000);
    expect(await other.release()).toBe(false);
    expect(await stage.redis.get(`${key}2`)).toBe("theirs");
  });

  test.for(everywhere)("whose token begins like ours is another's ($scheme on $on)", async (kind, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager(kind);
    for (const value of ["0", "0#1", "0#1#label"]) {
      const name = unique();
      const lock = await locks.acquire(name);
      await stage.redis.set(`lock:${name}`, lock.token + value, "PX", 60_000);
      expect(await lock.release()).toBe(false);
      expect(await stage.redis.get(`lock:${name}`)).toBe(lock.token + value);
    }
  });

  test.for(schemes)("that holds something else is not overwritten by stealing (%s)", async (scheme, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ scheme });
    const name = unique();
    await stage.redis.zadd(`lock:${name}`, 1, "precious");
    expect(await rejection(locks.acquire(name, { steal: true }))).toMatchObject({ code: "wrong-type" });
    expect(await stage.redis.zrange(`lock:${name}`, "0", "-1")).toEqual(["precious"]);
    const foreign = unique();
    await stage.redis.set(`lock:${foreign}`, "theirs");
    const stolen = await locks.acquire(foreign, { steal: true });
    expect(stolen.held).toBe(true);
    await stolen.release();
    expect(await leftovers(stage.redis)).toEqual([`lock:${name}`]);
  });
});

describe.concurrent("the schemes", () => {
  test.for(clientNames)("exclude one another on the same key (%s)", async (on, t) => {
    const stage = await openStage(t);
    const lua = await stage.manager({ on });
    const set = await stage.manager({ on, scheme: "set" });
    const name = unique();
    let running = 0;
    let most = 0;
    const take = (locks: typeof lua) =>
      locks.request(name, async () => {
        most = Math.max(most, ++running);
        await stage.redis.ping();
        running--;
      });
    await Promise.all(Array.from({ length: 24 }, (_, i) => take(i % 2 ? lua : set)));
    expect(most).toBe(1);
    await cleared(stage.redis);
  });

  test.for(clientNames)("shared holders of lua keep set waiting, and do not make it fail (%s)", async (on, t) => {
    const stage = await openStage(t);
    const lua = await stage.manager({ on });
    const set = await stage.manager({ on, scheme: "set" });
    const name = unique();
    const readers = [await hold(lua, name, { mode: "shared" }), await hold(lua, name, { mode: "shared" })];
    expect(await set.tryAcquire(name)).toBeNull();
    const writer = enqueue(set, name);
    await readers[0]!.end();
    expect(await set.tryAcquire(name)).toBeNull();
    await readers[1]!.end();
    const lock = await until(() => writer.granted, "the writer was served", SOON);
    expect(lock.fence).toBeGreaterThan(readers[1]!.lock.fence);
    expect(await lua.tryAcquire(name, { mode: "shared" })).toBeNull();
    await writer.end();
    await cleared(stage.redis);
  });

  /** An ioredis client whose connection for WATCH does something else right before each EXEC. */
  function interrupted(t: Finishing, url: string, between: () => Promise<unknown>): Redis {
    const redis = new Redis(url);
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (override) => {
      const copy = duplicate(override);
      const multi = copy.multi.bind(copy);
      copy.multi = ((commands: unknown[][]) => {
        const transaction = multi(commands);
        const exec = transaction.exec.bind(transaction);
        transaction.exec = async () => {
          await between();
          return exec();
        };
        return transaction;
      }) as never;
      return copy;
    };
    t.onTestFinished(() => redis.disconnect());
    return redis;
  }

  test("set: a release that was overtaken between its WATCH and its EXEC leaves the successor's key", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const key = `lock:${name}`;
    let overtaken = 0;
    const client = interrupted(t, stage.server.url, async () => {
      overtaken++;
      await stage.redis.del(key);
      await stage.redis.set(key, "successor", "PX", 60_000, "NX");
    });
    const locks = await stage.manager({ client, scheme: "set" });
    const lock = await locks.acquire(name);
    const released = await lock.release();
    t.skip(overtaken === 0, "This server compares and deletes by itself: there is nothing between.");
    expect(released).toBe(false);
    expect(await stage.redis.get(key)).toBe("successor");
  });

  test("set: a renewal that was overtaken does not lengthen the successor's lease", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const key = `lock:${name}`;
    let overtaken = 0;
    const client = interrupted(t, stage.server.url, async () => {
      overtaken++;
      await stage.redis.set(key, "successor", "PX", 60_000);
    });
    const locks = await stage.manager({ client, scheme: "set" });
    const lock = await locks.acquire(name);
    const extended = lock.extend(900_000).catch((error: unknown) => error);
    const error = await extended;
    t.skip(overtaken === 0, "This server compares and sets by itself: there is nothing between.");
    expect(error).toMatchObject({ code: "lost", reason: "stolen" });
    expect(await stage.redis.pttl(key)).toBeLessThanOrEqual(60_000);
    expect(await lock.release()).toBe(false);
    expect(await stage.redis.get(key)).toBe("successor");
  });
});

test("the scripts that stand for redlock are redlock's in what they do", async (t) => {
  const stage = await openStage(t);
  const key = createHash("sha1").update(unique()).digest("hex");
  expect(await stage.redis.eval(redlock, 1, key, "a", 60_000)).toBe(1);
  expect(await stage.redis.eval(redlock, 1, key, "b", 60_000)).toBe(0);
  expect(await stage.redis.eval(release, 1, key, "b")).toBe(0);
  expect(await stage.redis.eval(release, 1, key, "a")).toBe(1);
});
