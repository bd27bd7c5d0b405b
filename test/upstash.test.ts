/** Locks over HTTP, by @upstash/redis: what differs from a connection. What is alike is in the conformance tests. */
import { Redis as Upstash } from "@upstash/redis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { LockManager, type SchemeError } from "../src/index.ts";
import { hold, rejection, stateOf, unique } from "./support/locks.ts";
import { openStage, type Stage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { UpstashServer } from "./support/upstash.ts";

let stage: Stage;
let rest: UpstashServer;
const finish: (() => void | Promise<void>)[] = [];

beforeAll(async () => {
  stage = await openStage({ onTestFinished: (each) => void finish.unshift(each) });
  rest = await UpstashServer.start(stage.server.url);
  finish.unshift(() => rest.stop());
});
beforeEach(() => stage.redis.flushall());
afterAll(async () => {
  for (const each of finish) await each();
});

function open(options: object = {}): LockManager {
  const { url, token } = rest;
  const locks = new LockManager(new Upstash({ url, token, enableTelemetry: false, ...options }));
  finish.unshift(() => locks.close());
  return locks;
}

test.each([
  {},
  { responseEncoding: false as const },
  { enableAutoPipelining: false },
  { automaticDeserialization: false },
])("a lock is taken and released with the client set up as %j", async (options) => {
  const locks = open(options);
  const name = unique();
  await using lock = await locks.acquire(name);
  expect(await open(options).tryAcquire(name)).toBeNull();
  expect(lock.fence).toBeGreaterThan(1e15);
});

test("it excludes a manager with a connection, and waits in the same queue", async () => {
  const name = unique();
  const [http, tcp] = [open(), await stage.manager()];
  const first = await tcp.acquire(name);
  const order: string[] = [];
  const one = http.request(name, () => void order.push("http"));
  await until(async () => (await stateOf(tcp, name)).pending.length === 1, "it waited");
  const two = tcp.request(name, () => void order.push("tcp"));
  await until(async () => (await stateOf(tcp, name)).pending.length === 2, "both waited");
  await first.release();
  await Promise.all([one, two]);
  expect(order).toEqual(["http", "tcp"]);
});

test("what is asked for in one turn of the event loop is one request", async () => {
  const locks = open();
  const warm = await locks.acquire(unique());
  await warm.release();
  const before = rest.requests;
  const all = await Promise.all(Array.from({ length: 50 }, () => locks.tryAcquire(unique())));
  expect(all.every((lock) => lock !== null)).toBe(true);
  expect(rest.requests - before).toBe(1);
  await Promise.all(all.map((lock) => lock?.release()));
});

test("a waiter asks four times a second", async () => {
  const name = unique();
  const [a, b] = [open(), open()];
  const held = await hold(a, name);
  const waiter = b.acquire(name);
  await until(async () => (await stateOf(a, name)).pending.length === 1, "it waited");
  const [asked, since] = [rest.commands, performance.now()];
  await until(() => rest.commands >= asked + 4, "it asked four times more");
  // Renewals, and questions that stateOf asks, are none of them; a busy machine may be slower.
  expect(performance.now() - since).toBeGreaterThan(700);
  await held.end();
  await (await waiter).release();
});

test("a reply that is lost is asked for again, and the lock is held once", async () => {
  const locks = open({ retry: { retries: 3, backoff: () => 5 } });
  await (await locks.acquire(unique())).release();
  const name = unique();
  rest.lostReplies = 1;
  const lock = await locks.acquire(name);
  expect((await stateOf(locks, name)).held).toMatchObject([{ fence: lock.fence }]);
  rest.lostReplies = 1;
  expect(await lock.release()).toBe(true);
  expect((await stateOf(locks, name)).held).toEqual([]);
});

test("errors are said in the server's words: no token, no server, and no command", async () => {
  const wrong = new LockManager(new Upstash({ url: rest.url, token: "wrong", retry: false, enableTelemetry: false }));
  const refused = (await rejection(wrong.tryAcquire("x"))) as SchemeError;
  expect(refused).toMatchObject({ code: "not-authorized" });
  expect(refused.message).toMatch(/^The server refused the command: WRONGPASS invalid or missing auth token\. /);
  const away = new LockManager(
    new Upstash({ url: "http://127.0.0.1:64999", token: "x", retry: false, enableTelemetry: false }),
  );
  for (const error of await Promise.all(["x", "y"].map((name) => rejection(away.tryAcquire(name))))) {
    expect(error).toMatchObject({ code: "unreachable", message: expect.stringContaining("ECONNREFUSED") });
  }
  await Promise.all([wrong.close(), away.close()]);
});

test("what is sent in one request is done also if the server has forgotten its scripts", async () => {
  const locks = open();
  const held = await locks.acquire(unique());
  await stage.redis.script("FLUSH");
  const [isReleased, lock] = await Promise.all([held.release(), locks.tryAcquire(unique())]);
  expect([isReleased, lock?.held]).toEqual([true, true]);
  await lock?.release();
});

test("what needs a connection is refused before anything is sent", async () => {
  const { url, token, requests } = rest;
  const client = (): Upstash => new Upstash({ url, token, enableTelemetry: false });
  expect(() => new LockManager(client(), { scheme: "set" })).toThrow(/"set", which needs WATCH; got @upstash\/redis/);
  expect(() => new LockManager([client(), client(), client()])).toThrow(/Redlock; got @upstash\/redis/);
  expect(rest.requests).toBe(requests);
  const error = (await rejection(open().acquire("x", { durability: { replicas: 1 } }))) as SchemeError;
  expect(error).toMatchObject({ code: "no-wait" });
});

test("clients over HTTP are refused as nodes of a fleet", () => {
  const clients = [1, 2, 3].map(() => new Upstash({ url: rest.url, token: rest.token, enableTelemetry: false }));
  expect(() => new LockManager(clients)).toThrow("Expected clients with connections of their own for Redlock");
});
