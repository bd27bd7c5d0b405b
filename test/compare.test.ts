/** Compare and act in one step, on the server at hand: with its own commands where it has them, and with WATCH. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { findServerBinary, readVersion, type Server, type ServerVersion, startServer } from "../scripts/servers.ts";
import { systemClock } from "../src/clock.ts";
import { driverFor } from "../src/drivers/index.ts";
import { type Driver } from "../src/drivers/driver.ts";
import { TimeLimit } from "../src/drivers/time-limit.ts";
import { LockManager } from "../src/index.ts";
import type { Compare } from "../src/schemes/set/compare.ts";
import { NativeCompare } from "../src/schemes/set/native.ts";
import { WatchCompare } from "../src/schemes/set/watch.ts";
import { rejection, unique } from "./support/locks.ts";
import { connections } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { clientNames, openClient } from "./support/worlds.ts";

type Command = "delifeq" | "delex" | "set" | "watch";

/** What the scheme has to delete with, by the server's version and not by what the scheme finds out. */
function bestCommand({ product, version }: ServerVersion): Command {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const since = (first: number, second: number): boolean => major > first || (major === first && minor >= second);
  if (product === "Redis") return since(8, 4) ? "delex" : "watch";
  return since(9, 0) ? "delifeq" : since(8, 1) ? "set" : "watch";
}

const atHand = await readVersion(await findServerBinary());
const best = bestCommand(atHand);
const isNative = best !== "watch";

describe.each(clientNames)(`${atHand.product} ${atHand.version} on %s`, (clientName) => {
  let server: Server;
  /** To look at the server with, and to meddle. */
  let redis: Redis;
  beforeAll(async () => {
    server = await startServer();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  async function openDriver(): Promise<Driver> {
    const { client, end } = await openClient(clientName, server.url);
    onTestFinished(end);
    return driverFor(client);
  }

  function watching(driver: Driver): Compare {
    const compare = new WatchCompare(driver, new TimeLimit(systemClock, driver));
    onTestFinished(() => compare.close());
    return compare;
  }

  function native(driver: Driver): Promise<Compare | undefined> {
    return NativeCompare.detect(driver, new TimeLimit(systemClock, driver), "lock:");
  }

  /** How often the server was sent each of the commands that compare and delete, since `CONFIG RESETSTAT`. */
  async function commandsUsed(): Promise<Record<string, number>> {
    const found = (await redis.info("commandstats")).matchAll(/^cmdstat_(delifeq|delex|del|watch):calls=(\d+)/gm);
    return Object.fromEntries([...found].map(([, command, calls]) => [command, Number(calls)]));
  }

  test(`the server's own commands are ${isNative ? "found" : "not there, and none is found"}`, async () => {
    expect((await native(await openDriver())) !== undefined).toBe(isNative);
    expect(await redis.keys("*")).toEqual([]);
  });

  const ways: Record<string, () => Promise<Compare>> = {
    WATCH: async () => watching(await openDriver()),
    ...(isNative && { [best.toUpperCase()]: async () => (await native(await openDriver()))! }),
  };

  describe.each(Object.keys(ways))("%s", (way) => {
    let compare: Compare;
    let key: string;
    beforeEach(async () => {
      key = unique("key");
      compare = await ways[way]!();
    });

    test("deletes the equal value", async () => {
      await redis.set(key, "a#1", "PX", 60_000);
      expect(await compare.delete(key, "a#1")).toBe(true);
      await until(async () => !(await redis.exists(key)), "the key was gone");
    });

    test.for(["a#12", "a#", "A#1", "b", "", "a#1\0"])("deletes no other value: %j", async (other) => {
      await redis.set(key, other, "PX", 60_000);
      expect(await compare.delete(key, "a#1")).toBe(false);
      expect(await redis.get(key)).toBe(other);
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
    });

    test("lets the equal value live longer, and never shorter", async () => {
      await redis.set(key, "a#1", "PX", 10_000);
      expect(await compare.extend(key, "a#1", 60_000)).toBe(true);
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      expect(await compare.extend(key, "a#1", 5_000)).toBe(true);
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      expect(await redis.get(key)).toBe("a#1");
    });

    test("extensions that overlap leave the longest time, in whatever order they come", async () => {
      for (const ttls of [
        [60_000, 5_000, 20_000],
        [5_000, 60_000, 20_000],
        [5_000, 20_000, 60_000],
      ]) {
        await redis.set(key, "a#1", "PX", 1_000);
        expect(await Promise.all(ttls.map((ttl) => compare.extend(key, "a#1", ttl)))).toEqual([true, true, true]);
        expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      }
    });

    test("what is asked of one key at once takes effect in order", async () => {
      await redis.set(key, "a#1", "PX", 1_000);
      const done = [
        compare.extend(key, "a#1", 60_000),
        compare.replace(key, "a#1", "b#2", 60_000),
        compare.extend(key, "a#1", 90_000),
        compare.replace(key, "b#2", "c#3", 30_000),
      ];
      expect(await Promise.all(done)).toEqual([true, true, false, true]);
      expect(await redis.get(key)).toBe("c#3");
      expect(await redis.pttl(key)).toBeLessThanOrEqual(30_000);
    });

    test("puts the next value in the place of the equal one, for exactly that long", async () => {
      await redis.set(key, "a#1", "PX", 10_000);
      expect(await compare.replace(key, "a#1", "b#2", 60_000)).toBe(true);
      expect(await redis.get(key)).toBe("b#2");
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      expect(await compare.replace(key, "b#2", "c#3", 5_000)).toBe(true);
      expect(await redis.pttl(key)).toBeLessThanOrEqual(5_000);
    });

    test("leaves the time of another value as it is", async () => {
      await redis.set(key, "b#1", "PX", 10_000);
      expect(await compare.extend(key, "a#1", 60_000)).toBe(false);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(false);
      expect(await redis.get(key)).toBe("b#1");
      expect(await redis.pttl(key)).toBeLessThanOrEqual(10_000);
    });

    test("says no of a key that is not there, and makes none", async () => {
      expect(await compare.delete(key, "a#1")).toBe(false);
      expect(await compare.extend(key, "a#1", 60_000)).toBe(false);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(false);
      expect(await redis.exists(key)).toBe(0);
    });

    test("says no of a key of another type, leaves it alone, and goes on with the next", async () => {
      await redis.zadd(key, "1", "a#1");
      const done = [compare.delete(key, "a#1"), compare.extend(key, "a#1", 60_000)];
      done.push(compare.replace(key, "a#1", "a#1", 60_000));
      expect(await Promise.all(done)).toEqual([false, false, false]);
      expect(await redis.zrange(key, "0", "-1")).toEqual(["a#1"]);
      await redis.del(key);
      await redis.set(key, "a#1");
      expect(await compare.delete(key, "a#1")).toBe(true);
    });

    test("many calls at once are each answered for their own key", async () => {
      const keys = Array.from({ length: 20 }, (_, i) => `${key} ${i}`);
      await Promise.all(keys.map((each, i) => redis.set(each, `a#${i % 2}`, "PX", 60_000)));
      const deleted = await Promise.all(keys.map((each) => compare.delete(each, "a#1")));
      expect(deleted).toEqual(keys.map((_, i) => i % 2 === 1));
      await until(async () => (await redis.exists(...keys)) === 10, "only the others were left");
    });
  });

  describe("WATCH, when the key is touched between the look and the act", () => {
    let key: string;
    let compare: Compare;
    let meddle: (() => Promise<unknown>) | undefined;
    beforeEach(async () => {
      key = unique("key");
      await redis.set(key, "a#1", "PX", 10_000);
      const driver = await openDriver();
      const open = driver.session.bind(driver);
      driver.session = async (at) => {
        const session = await open(at);
        const transact = session.transaction.bind(session);
        session.transaction = async (commands) => {
          const run = meddle;
          meddle = undefined;
          await run?.();
          return transact(commands);
        };
        return session;
      };
      compare = watching(driver);
    });

    const acts: (() => Promise<unknown>)[] = [
      () => compare.delete(key, "a#1"),
      () => compare.extend(key, "a#1", 60_000),
      () => compare.replace(key, "a#1", "a#1", 60_000),
    ];

    test("another value stays", async () => {
      for (const act of acts) {
        await redis.set(key, "a#1");
        meddle = () => redis.set(key, "b#2", "PX", 10_000);
        expect(await act()).toBe(false);
        expect(await redis.get(key)).toBe("b#2");
        expect(await redis.pttl(key)).toBeLessThanOrEqual(10_000);
      }
    });

    test("the same value with another time, as after a renewal, is still acted on", async () => {
      for (const act of acts) {
        await redis.set(key, "a#1", "PX", 10_000);
        meddle = () => redis.pexpire(key, 20_000);
        expect(await act()).toBe(true);
        expect(meddle).toBeUndefined();
      }
    });

    test("of many keys, only the one that was touched is looked at for itself", async () => {
      const keys = Array.from({ length: 16 }, (_, i) => `${key} ${i}`);
      for (const act of ["delete", "extend"] as const) {
        await Promise.all(keys.map((each) => redis.set(each, "a#1", "PX", 10_000)));
        meddle = () => redis.set(keys[5]!, "b#2", "PX", 10_000);
        const done = keys.map((each) =>
          act === "delete" ? compare.delete(each, "a#1") : compare.extend(each, "a#1", 60_000),
        );
        expect(await Promise.all(done)).toEqual(keys.map((_, i) => i !== 5));
        expect(await redis.get(keys[5]!)).toBe("b#2");
        expect(await redis.pttl(keys[5]!)).toBeLessThanOrEqual(10_000);
      }
    });

    // GLIDE's connection looks again right before it acts: nothing can be done in between from here.
    test.skipIf(clientName === "glide")(
      "a key that changes each time is given up, and the next is served",
      async () => {
        let times = 0;
        const again = async (): Promise<void> => {
          meddle = again;
          await redis.pexpire(key, 20_000 + times++);
        };
        meddle = again;
        expect(await rejection(compare.delete(key, "a#1"))).toMatchObject({ name: "SchemeError", transient: true });
        expect(times).toBeLessThan(100);
        meddle = undefined;
        await until(() => compare.delete(key, "a#1"), "it was deleted");
      },
    );
  });

  test("WATCH: what is asked for while a batch is out, and in one turn, is done in two batches", async () => {
    const compare = watching(await openDriver());
    const keys = Array.from({ length: 100 }, () => unique("key"));
    await redis.mset(keys.flatMap((each) => [each, "a#1"]));
    await compare.extend(keys[0]!, "a#1", 60_000);
    await redis.config("RESETSTAT");
    const done = keys.map((each) => compare.extend(each, "a#1", 60_000));
    await new Promise((resolve) => process.nextTick(resolve));
    done.push(...keys.map((each) => compare.delete(each, "a#1")));
    expect(new Set(await Promise.all(done))).toEqual(new Set([true]));
    expect((await commandsUsed())["watch"]).toBe(2);
  });

  test("WATCH: who gives up while another of its process holds does not keep the renewal waiting", async () => {
    const compare = watching(await openDriver());
    const key = unique("key");
    await redis.set(key, "holder", "PX", 10_000);
    await redis.config("RESETSTAT");
    const left = Array.from({ length: 5 }, (_, i) => compare.delete(key, `waiter ${i}`));
    expect(await compare.extend(key, "holder", 60_000)).toBe(true);
    expect(await Promise.all(left)).toEqual([false, false, false, false, false]);
    expect((await commandsUsed())["watch"]).toBe(1);
    expect(await redis.get(key)).toBe("holder");
    expect(await redis.pttl(key)).toBeGreaterThan(50_000);
  });

  test("WATCH: a renewal passes what has to wait for the batch before, and the order for each key and value stays", async () => {
    const compare = watching(await openDriver());
    const [key, other] = [unique("key"), unique("other")];
    await redis.mset(key, "a#1", other, "holder");
    await redis.config("RESETSTAT");
    const done = [
      compare.extend(key, "a#1", 60_000),
      compare.replace(key, "a#1", "b#2", 60_000), // must wait for the extension
      compare.delete(key, "b#2"), // and this for that
      compare.extend(other, "holder", 60_000),
    ];
    const order: number[] = [];
    expect(
      await Promise.all(
        done.map(async (each, i) => {
          const isDone = await each;
          order.push(i);
          return isDone;
        }),
      ),
    ).toEqual([true, true, true, true]);
    expect(order).toEqual([0, 3, 1, 2]);
    expect((await commandsUsed())["watch"]).toBe(3);
    expect(await redis.exists(key)).toBe(0);
  });

  test.skipIf(isNative)(
    "WATCH: its connection is open before a short lease has to be renewed or released",
    async () => {
      const { client, end } = await openClient(clientName, server.url);
      onTestFinished(end);
      const locks = new LockManager(client, { scheme: "set" });
      await redis.config("RESETSTAT");
      await driverFor(client).send(["PING"]);
      const before = (await connections(redis)).map(({ id }) => id);
      const lock = await locks.acquire(unique(), { renew: false });
      // The number of connections says nothing: those of the test before may only now be closed.
      const opened = async (): Promise<boolean> => (await connections(redis)).some(({ id }) => !before.includes(id));
      await until(opened, "the connection for WATCH was open");
      expect((await commandsUsed())["watch"]).toBeUndefined();
      await lock.release();
      await locks.close();
    },
  );

  test(`the set scheme uses ${best.toUpperCase()}${isNative ? " and no WATCH" : ""}`, async () => {
    const { client, end } = await openClient(clientName, server.url);
    onTestFinished(end);
    const locks = new LockManager(client, { scheme: "set" });
    await redis.config("RESETSTAT");
    const lock = await locks.acquire(unique(), { ttl: 10_000, renew: false });
    await lock.extend(60_000);
    expect(lock.remaining).toBeGreaterThan(50_000);
    expect(await lock.release()).toBe(true);
    const taken = await locks.acquire(unique());
    expect(await locks.forceRelease(taken.name, [taken.token])).toHaveLength(1);
    const expected = { delifeq: ["delifeq"], delex: ["delex"], set: [], watch: ["del", "watch"] }[best];
    expect(Object.keys(await commandsUsed()).sort()).toEqual(expected);
    await taken.release();
    await locks.close();
  });
});
