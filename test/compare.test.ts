/** Compare and act in one step, on the server at hand: with its own commands where it has them, and with WATCH. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { findServerBinary, readVersion, type Server, type ServerVersion, startServer } from "../scripts/servers.ts";
import { systemClock } from "../src/clock.ts";
import { driverFor } from "../src/drivers/index.ts";
import { type Driver } from "../src/drivers/driver.ts";
import { schemeError } from "../src/drivers/server-errors.ts";
import { TimeLimit } from "../src/drivers/time-limit.ts";
import { LockManager } from "../src/index.ts";
import { type Compare, NativeCompare, WatchCompare } from "../src/schemes/set/compare.ts";
import { rejection, unique } from "./support/locks.ts";
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

  /** How often the server was sent each of the commands that compare and delete, since `CONFIG RESETSTAT`. */
  async function commandsUsed(): Promise<Record<string, number>> {
    const found = (await redis.info("commandstats")).matchAll(/^cmdstat_(delifeq|delex|del|watch):calls=(\d+)/gm);
    return Object.fromEntries([...found].map(([, command, calls]) => [command, Number(calls)]));
  }

  test(`the server's own commands are ${isNative ? "found" : "not there, and none is found"}`, async () => {
    const native = await NativeCompare.detect(await openDriver(), "lock:");
    expect(native !== undefined).toBe(isNative);
    expect(await redis.keys("*")).toEqual([]);
  });

  const ways: Record<string, () => Promise<Compare>> = {
    WATCH: async () => watching(await openDriver()),
    ...(isNative && { [best.toUpperCase()]: async () => (await NativeCompare.detect(await openDriver(), "lock:"))! }),
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

    test("lets the equal value live longer, or shorter", async () => {
      await redis.set(key, "a#1", "PX", 10_000);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(true);
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      expect(await compare.replace(key, "a#1", "a#1", 5_000)).toBe(true);
      expect(await redis.pttl(key)).toBeLessThanOrEqual(5_000);
      expect(await redis.get(key)).toBe("a#1");
    });

    test("puts the next value in the place of the equal one", async () => {
      await redis.set(key, "a#1", "PX", 10_000);
      expect(await compare.replace(key, "a#1", "b#2", 60_000)).toBe(true);
      expect(await redis.get(key)).toBe("b#2");
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
    });

    test("leaves the time of another value as it is", async () => {
      await redis.set(key, "b#1", "PX", 10_000);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(false);
      expect(await redis.get(key)).toBe("b#1");
      expect(await redis.pttl(key)).toBeLessThanOrEqual(10_000);
    });

    test("says no of a key that is not there, and makes none", async () => {
      expect(await compare.delete(key, "a#1")).toBe(false);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(false);
      expect(await redis.exists(key)).toBe(0);
    });

    test("is refused by a key of another type, leaves it alone, and goes on with the next", async () => {
      await redis.zadd(key, "1", "a#1");
      expect(schemeError(await rejection(compare.delete(key, "a#1"))).code).toBe("wrong-type");
      expect(schemeError(await rejection(compare.replace(key, "a#1", "a#1", 60_000))).code).toBe("wrong-type");
      expect(await redis.zrange(key, "0", "-1")).toEqual(["a#1"]);
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
          await meddle?.();
          meddle = undefined;
          return transact(commands);
        };
        return session;
      };
      compare = watching(driver);
    });

    test("another value stays", async () => {
      for (const act of [() => compare.delete(key, "a#1"), () => compare.replace(key, "a#1", "a#1", 60_000)]) {
        await redis.set(key, "a#1");
        meddle = () => redis.set(key, "b#2", "PX", 10_000);
        expect(await act()).toBe(false);
        expect(await redis.get(key)).toBe("b#2");
        expect(await redis.pttl(key)).toBeLessThanOrEqual(10_000);
      }
    });

    test("the same value with another time, as after a renewal, is still acted on", async () => {
      meddle = () => redis.pexpire(key, 20_000);
      expect(await compare.replace(key, "a#1", "a#1", 60_000)).toBe(true);
      expect(await redis.pttl(key)).toBeGreaterThan(50_000);
      meddle = () => redis.pexpire(key, 20_000);
      expect(await compare.delete(key, "a#1")).toBe(true);
      expect(await redis.exists(key)).toBe(0);
    });
  });

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
