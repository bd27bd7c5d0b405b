/** What the scheme `set` does beside what every scheme promises: batches, databases, accounts and odd replies. */
import type { Redis } from "ioredis";
import { createClient, RESP_TYPES } from "redis";
import { describe, expect, test } from "vitest";
import { systemClock } from "../src/clock.ts";
import { driverFor } from "../src/drivers/index.ts";
import { TimeLimit } from "../src/drivers/time-limit.ts";
import type { LockManager } from "../src/index.ts";
import { Homes } from "../src/schemes/keys.ts";
import { Fences } from "../src/schemes/set/fences.ts";
import { Looking } from "../src/schemes/set/look.ts";
import { integerOf, isDone, listOf, textOf } from "../src/schemes/set/replies.ts";
import { ManualClock } from "../src/testing.ts";
import { unique } from "./support/locks.ts";
import { calls, cleared, connections, type Finishing, openStage, type Stage } from "./support/stage.ts";

function nodeRedis(t: Finishing, options: Parameters<typeof createClient>[0]) {
  const client = createClient(options);
  client.on("error", () => {});
  t.onTestFinished(() => void (client.isOpen && client.destroy()));
  return client.connect();
}

/** An ioredis client with these rights, and any channel. */
async function account(stage: Stage, ...rules: string[]): Promise<Redis> {
  await stage.redis.call("ACL", "SETUSER", "app", "reset", "on", ">secret", ...rules);
  // Channels have rules since Redis 6.2.
  await stage.redis.call("ACL", "SETUSER", "app", "&*").catch(() => {});
  return stage.client(stage.server.url, { username: "app", password: "secret" });
}

describe.concurrent("in one turn of the event loop", () => {
  test("100 locks are taken with one or two transactions, and given back with as many", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ scheme: "set" });
    await (await locks.acquire(unique())).release();
    const before = await calls(stage.redis, "multi", "watch");
    const held = await Promise.all(Array.from({ length: 100 }, () => locks.acquire(unique())));
    expect((await calls(stage.redis, "multi", "watch")) - before).toBeLessThanOrEqual(2);
    expect(new Set(held.map(({ fence }) => fence)).size).toBe(100);
    expect(new Set(await Promise.all(held.map((lock) => lock.release())))).toEqual(new Set([true]));
    // On servers that cannot compare by themselves, a WATCH and a MULTI each.
    expect((await calls(stage.redis, "multi", "watch")) - before).toBeLessThanOrEqual(6);
    await cleared(stage.redis);
  });

  test("a lock that the account may not touch does not keep the others from being taken, renewed and released", async (t) => {
    const stage = await openStage(t);
    const client = await account(stage, "~lock::*", "~lock:client:*", "~lock:mine:*", "+@all");
    const locks = await stage.manager({ scheme: "set", client });
    const names = ["mine:1", "mine:2", "theirs:1", "mine:3"];
    const taken = await Promise.allSettled(names.map((name) => locks.acquire(name, { renew: false })));
    expect(taken.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect((taken[2] as PromiseRejectedResult).reason).toMatchObject({ code: "not-authorized" });
    await Promise.all(taken.map((each) => each.status === "fulfilled" && each.value.extend(60_000)));
    expect(await stage.redis.pttl("lock:mine:3")).toBeGreaterThan(50_000);
    await Promise.all(taken.map((each) => each.status === "fulfilled" && each.value.release()));
    await cleared(stage.redis);
  });
});

describe.concurrent("a client that its user moves to another database", () => {
  async function seen(stage: Stage, database: number, name: string): Promise<number> {
    return stage.client(`${stage.server.url}/${database}`).pttl(`lock:${name}`);
  }

  async function takesAndGivesBack(stage: Stage, locks: LockManager, database: number): Promise<void> {
    const name = unique();
    const lock = await locks.acquire(name, { ttl: 10_000, renew: false });
    expect(await seen(stage, database, name)).toBeGreaterThan(0);
    await lock.extend(60_000);
    expect(await seen(stage, database, name)).toBeGreaterThan(50_000);
    expect(await lock.release()).toBe(true);
    expect(await seen(stage, database, name)).toBe(-2);
  }

  /** Redis before 6.2 does not tell. */
  async function tells(stage: Stage): Promise<boolean> {
    return stage.redis.client("INFO").then(
      () => true,
      () => false,
    );
  }

  test("before it is used, keeps its locks there (ioredis)", async (t) => {
    const stage = await openStage(t);
    t.skip(!(await tells(stage)), "The server does not tell where a client is.");
    const client = stage.client();
    await client.select(5);
    await takesAndGivesBack(stage, await stage.manager({ scheme: "set", client }), 5);
  });

  test("and moves again, keeps its locks where it is (node-redis)", async (t) => {
    const stage = await openStage(t);
    t.skip(!(await tells(stage)), "The server does not tell where a client is.");
    const client = await nodeRedis(t, { url: stage.server.url });
    const locks = await stage.manager({ scheme: "set", client });
    for (const database of [5, 0, 7]) {
      await client.select(database);
      await takesAndGivesBack(stage, locks, database);
    }
  });

  test("gets an error if the server does not say which database that is, and keeps its lock", async (t) => {
    const stage = await openStage(t);
    const client = await account(stage, "~*", "+@all", "-client");
    await client.select(5);
    const locks = await stage.manager({ scheme: "set", client });
    const lock = await locks.acquire(unique(), { renew: false });
    const error = await lock.extend().catch((reason: unknown) => reason);
    t.skip(error === undefined, "This server compares by itself: no other connection is needed.");
    expect(error).toMatchObject({ name: "SchemeError", message: expect.stringContaining("which database") });
    expect(lock.held).toBe(true);
  });
});

describe.concurrent("clients that answer with other types", () => {
  const { BLOB_STRING, SIMPLE_STRING, NUMBER } = RESP_TYPES;
  const mappings = {
    "Buffers for strings": { [BLOB_STRING]: Buffer },
    "Buffers for all strings": { [BLOB_STRING]: Buffer, [SIMPLE_STRING]: Buffer },
    "strings for numbers": { [NUMBER]: String },
  };
  const kinds = Object.keys(mappings).flatMap((mapping) => ([2, 3] as const).map((RESP) => ({ mapping, RESP })));

  test.for(kinds)("are read like others: $mapping, RESP $RESP", async ({ mapping, RESP }, t) => {
    const stage = await openStage(t);
    const typeMapping = mappings[mapping as keyof typeof mappings];
    const client = await nodeRedis(t, { url: stage.server.url, RESP, commandOptions: { typeMapping } });
    const locks = await stage.manager({ scheme: "set", client });
    const other = await stage.manager({ scheme: "set" });
    const name = unique();
    const lock = await locks.acquire(name, { ttl: 10_000, renew: false });
    expect(await locks.tryAcquire(name)).toBeNull();
    await lock.extend(60_000);
    expect((await locks.query()).held).toMatchObject([{ name, token: lock.token }]);
    expect((await locks.query({ name })).held[0]?.remaining).toBeGreaterThan(50_000);
    const next = other.acquire(name);
    expect(await lock.release()).toBe(true);
    expect((await next).fence).toBeGreaterThan(lock.fence);
    await (await next).release();
    await cleared(stage.redis);
  });

  test.each([
    ["a text", () => textOf(5, "GET"), "Expected a string or null as the reply to GET, got 5."],
    ["a text that is missing", () => textOf(undefined, "GET"), "got nothing."],
    ["an integer", () => integerOf("QUEUED", "INCRBY"), 'Expected an integer as the reply to INCRBY, got "QUEUED".'],
    ["an integer that is too large", () => integerOf("9007199254740993", "INCRBY"), "Expected an integer"],
    ["an integer that is nothing", () => integerOf("", "INCRBY"), "Expected an integer"],
    ["what is done", () => isDone("QUEUED", "SET"), 'Expected OK or null as the reply to SET, got "QUEUED".'],
    ["a list", () => listOf(null, "EXEC", 2), "Expected a list of 2 as the reply to EXEC, got null."],
    ["a list that is shorter", () => listOf(["a"], "MGET", 2), "got an array of 1."],
    ["what the server refused", () => integerOf(new Error("WRONGTYPE no"), "INCRBY"), "WRONGTYPE no"],
  ])("a reply of another shape is no outcome: %s", (_, read, message) => {
    expect(read).toThrow(message);
  });

  test.each([
    [textOf(Buffer.from("é"), "GET"), "é"],
    [textOf(null, "GET"), null],
    [integerOf(-2, "PTTL"), -2],
    [integerOf("-2", "PTTL"), -2],
    [integerOf(5n, "PTTL"), 5],
    [integerOf(Buffer.from("12"), "PTTL"), 12],
    [isDone(Buffer.from("OK"), "SET"), true],
  ])("the same reply in another dress is read: %j", (read, expected) => {
    expect(read).toBe(expected);
  });
});

test("a process that asks again and again behind a holder draws fences, but never ahead of the clock", async (t) => {
  const stage = await openStage(t);
  const [locks, other] = [await stage.manager({ scheme: "set" }), await stage.manager({ scheme: "set" })];
  const name = unique();
  const held = await other.acquire(name);
  for (let i = 0; i < 300; i++) expect(await locks.tryAcquire(name)).toBeNull();
  await held.release();
  const next = await locks.acquire(name);
  const [seconds, micros] = await stage.redis.time();
  expect(next.fence).toBeLessThanOrEqual(Number(seconds) * 1e6 + Number(micros));
  await next.release();
});

test("a lost connection for WATCH is opened again, however often that happens", async (t) => {
  const stage = await openStage(t);
  const client = stage.client();
  const locks = await stage.manager({ scheme: "set", client });
  await (await locks.acquire(unique())).release();
  const known = [await stage.redis.client("ID"), await client.client("ID")].map(String);
  // There are at most eight at a time.
  for (let times = 0; times < 10; times++) {
    const lock = await locks.acquire(unique(), { renew: false });
    const others = (await connections(stage.redis)).map(({ id }) => id!).filter((id) => !known.includes(id));
    t.skip(times === 0 && others.length === 0, "This server compares by itself: there is no such connection.");
    for (const id of others) await stage.redis.call("CLIENT", "KILL", "ID", id);
    expect(await lock.release()).toBe(true);
  }
  await cleared(stage.redis);
});

test("a fence that lies further behind the server's clock than a restart takes is not used", () => {
  const fences = new Fences(new ManualClock());
  const now = 1_800_000_000;
  /** The replies to the commands that draw one fence, which is so many milliseconds behind the server's clock. */
  const isLate = (lag: number): boolean => {
    const last = now * 1e6 - lag * 1000;
    return fences.read([[0, last, last], 1, 1, 1, [now, 0]], 1, 0).isLate;
  };
  expect(isLate(0), "drawn before the server's clock was known").toBe(true);
  expect([isLate(0), isLate(24), isLate(26)]).toEqual([false, false, true]);
});

test("an error about a reply that tells no time left names the command", async (t) => {
  const { client } = await openStage(t);
  const driver = driverFor(client(), {});
  t.onTestFinished(() => driver.close());
  const { transaction } = driver;
  driver.transaction = async (...args) => {
    const replies = await transaction.apply(driver, args);
    return replies && [replies[0], "soon"];
  };
  const looking = new Looking(driver, new TimeLimit(systemClock, driver), "lock:", new Homes("lock:", false));
  await expect(looking.one("x")).rejects.toThrow('Expected an integer as the reply to PTTL, got "soon".');
});
