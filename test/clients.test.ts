/** Clients that were set up in their users' own ways: with each, everything works, and in the database it was told. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { LockManager } from "../src/index.ts";
import { enqueue, hold, unique } from "./support/locks.ts";
import { connections, connectClient } from "./support/stage.ts";
import { until } from "./support/until.ts";
import type { ClientName } from "./support/worlds.ts";

/** A push takes milliseconds, a poke seconds. */
const BEFORE_ANY_POKE = 3_000;

interface Setup {
  readonly on: ClientName;
  readonly settings: object;
  /** The database that the locks must be in (default 0). */
  readonly db?: number;
}

const account = { username: "app", password: "secret" };

const setups: Record<string, Setup> = {
  "ioredis 6 with db": { on: "ioredis 6", settings: { db: 1 }, db: 1 },
  "ioredis 6 with enableAutoPipelining": { on: "ioredis 6", settings: { enableAutoPipelining: true } },
  "ioredis 6 with stringNumbers": { on: "ioredis 6", settings: { stringNumbers: true } },
  "ioredis 6 with an account": { on: "ioredis 6", settings: account },
  "ioredis 5 with db, enableAutoPipelining, stringNumbers and an account": {
    on: "ioredis 5",
    settings: { db: 2, enableAutoPipelining: true, stringNumbers: true, ...account },
    db: 2,
  },
  "iovalkey with db, enableAutoPipelining, stringNumbers and an account": {
    on: "iovalkey",
    settings: { db: 3, enableAutoPipelining: true, stringNumbers: true, ...account },
    db: 3,
  },
  "node-redis 6 with RESP 2": { on: "node-redis 6", settings: { RESP: 2 } },
  "node-redis 6 with RESP 3": { on: "node-redis 6", settings: { RESP: 3 } },
  "node-redis 6 with database": { on: "node-redis 6", settings: { database: 4 }, db: 4 },
  "node-redis 6 with an account": { on: "node-redis 6", settings: account },
  "glide with RESP2": { on: "glide", settings: { protocol: 1 } },
  "glide with RESP3": { on: "glide", settings: { protocol: 0 } },
  "glide with databaseId": { on: "glide", settings: { databaseId: 5 }, db: 5 },
  "glide with bytes": { on: "glide", settings: { defaultDecoder: 0 } },
  "glide with lazyConnect": { on: "glide", settings: { lazyConnect: true } },
  "glide with credentials": { on: "glide", settings: { credentials: account } },
  "glide with databaseId, credentials and RESP2": {
    on: "glide",
    settings: { databaseId: 6, credentials: account, protocol: 1 },
    db: 6,
  },
};

let server: Server;
let redis: Redis;

beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url);
  await redis.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all");
  // Before 6.2 channels were everybody's.
  await redis.call("ACL", "SETUSER", "app", "allchannels").catch(() => {});
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

test.for(Object.entries(setups))("%s", async ([, { on, settings, db = 0 }], t) => {
  const open = async (scheme: "lua" | "set"): Promise<LockManager> => {
    const { client, end } = await connectClient(on, server.url, settings);
    const locks = new LockManager(client, { scheme });
    t.onTestFinished(() => locks.close().finally(end));
    return locks;
  };
  const look = new Redis(server.url, { db });
  t.onTestFinished(() => look.disconnect());
  const [a, b, set] = [await open("lua"), await open("lua"), await open("set")];
  const name = unique();

  const first = await hold(a, name, { ttl: 20_000 });
  expect(await look.get(`lock:${name}`)).toContain(first.lock.token);
  if (db > 0) expect(await redis.exists(`lock:${name}`)).toBe(0);
  expect(await b.tryAcquire(name)).toBeNull();
  expect(await set.tryAcquire(name)).toBeNull();

  const second = enqueue(b, name);
  const states = (): ReturnType<LockManager["query"]> => a.query({ name });
  await until(async () => (await states()).pending.length === 1, "it waited");
  const user = JSON.stringify(settings).includes("username") ? "app" : "default";
  const listen = async (): Promise<boolean> =>
    (await connections(redis)).some(
      (each) => Number(each["sub"]) > 0 && Number(each["db"]) === db && each["user"] === user,
    );
  await until(listen, "it listened");
  await first.end();
  const lock = await until(() => second.granted, "the waiter was served", BEFORE_ANY_POKE);
  expect(Number.isSafeInteger(lock.fence)).toBe(true);
  expect(lock.fence).toBeGreaterThan(first.lock.fence);
  await lock.extend(60_000);
  expect(await look.pttl(`lock:${name}`)).toBeGreaterThan(50_000);
  expect((await states()).held).toMatchObject([{ token: lock.token, fence: lock.fence }]);
  expect((await a.query("all")).held.map((each) => each.name)).toContain(name);
  await second.end();

  const moved = await b.attach(await (await a.acquire(name)).detach());
  expect(moved.fence).toBeGreaterThan(lock.fence);
  expect(await moved.release()).toBe(true);

  const plain = await set.acquire(name, { ttl: 3_000 });
  expect(plain.fence).toBeGreaterThan(moved.fence);
  expect(await look.get(`lock:${name}`)).toBe(plain.token);
  await plain.extend(20_000);
  expect(await look.pttl(`lock:${name}`)).toBeGreaterThan(10_000);
  expect(await a.tryAcquire(name)).toBeNull();
  expect(await plain.release()).toBe(true);
  expect(await look.exists(`lock:${name}`)).toBe(0);
});
