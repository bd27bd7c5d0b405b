/** Clients that their users use for something else as well: what it does to locks is noticed, or done away with. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient, RESP_TYPES } from "redis";
import { describe, expect, test } from "vitest";
import { type Driver } from "../src/drivers/driver.ts";
import { driverFor } from "../src/drivers/index.ts";
import { LockManager, type RedisClient } from "../src/index.ts";
import { enqueue, hold, rejection, unique, waiting } from "./support/locks.ts";
import { managerOn } from "./support/opened.ts";
import { connectClient, type Finishing, leftovers, openStage, type Stage } from "./support/stage.ts";
import { until } from "./support/until.ts";

const schemes = ["lua", "set"] as const;

interface User {
  readonly client: RedisClient;
  /** Sends a command as the client's user does. */
  command(...words: string[]): Promise<unknown>;
}

const users: Record<string, (t: Finishing, url: string) => Promise<User>> = {
  "ioredis 6": async (t, url) => {
    const client = new Redis(url);
    t.onTestFinished(() => client.disconnect());
    return { client, command: (name = "", ...args) => client.call(name, args) };
  },
  "node-redis 6": async (t, url) => {
    const client = createClient({ url });
    await client.connect();
    t.onTestFinished(() => client.destroy());
    return { client, command: (...words) => client.sendCommand(words) };
  },
  glide: async (t, url) => {
    const { client, end } = await connectClient("glide", url);
    t.onTestFinished(end);
    const glide = client as unknown as { customCommand(words: string[]): Promise<unknown> };
    return { client, command: (...words) => glide.customCommand(words) };
  },
};

describe.each(Object.keys(users))("in the middle of a MULTI of its user, %s", (on) => {
  async function open(t: Finishing): Promise<{ stage: Stage; user: User; driver: Driver }> {
    const stage = await openStage(t);
    const user = await users[on]!(t, stage.server.url);
    const driver = driverFor(user.client);
    t.onTestFinished(() => driver.close());
    return { stage, user, driver };
  }

  const ways: Record<string, (driver: Driver) => Promise<unknown>> = {
    "a command": (driver) => driver.send(["SET", "x", "1"], "x"),
    "a script": (driver) => driver.send(["EVAL", "return {1}", "1", "x"], "x"),
    "commands in order": (driver) => driver.inOrder([["SET", "x", "1"], ["PING"]], "x"),
    "a transaction": (driver) =>
      driver.transaction(
        [
          ["SET", "x", "1"],
          ["GET", "x"],
        ],
        "x",
      ),
  };

  test.for(Object.keys(ways))("does not mistake QUEUED for the answer to %s", async (way, t) => {
    const { user, driver } = await open(t);
    await user.command("MULTI");
    await user.command("SET", "theirs", "1");
    const said = ((await rejection(ways[way]!(driver))) as Error).message;
    expect(said).toMatch(/in a MULTI|MULTI calls can not be nested/);
    await user.command("EXEC").catch(() => {}); // a transaction of ours has ended theirs
    expect(await driver.send(["PING"])).toBe("PONG");
  });

  test.for(schemes)("grants the lock once that is over, and its renewals do not lose it (%s)", async (scheme, t) => {
    const { user } = await open(t);
    const locks = new LockManager(user.client, { scheme });
    t.onTestFinished(() => locks.close());
    await locks.request(unique(), () => {}); // what is asked for once is known then
    const first = await locks.acquire(unique(), { ttl: 3_000 });
    await user.command("MULTI");
    await user.command("SET", "theirs", "1");
    const second = locks.acquire(unique());
    // Long enough for a renewal.
    const later = performance.now() + 1_300;
    await until(() => performance.now() > later, "a while had passed");
    await user.command("EXEC").catch(() => {});
    expect((await second).held).toBe(true);
    expect(first.held).toBe(true);
    expect(await first.release()).toBe(true);
    expect(await (await second).release()).toBe(true);
  });
});

describe("a client that is subscribed to channels", () => {
  const subscribed: Record<string, (url: string) => Promise<{ client: RedisClient; end(): unknown }>> = {
    "ioredis 5": async (url) => {
      const client = new Redis5(url);
      await client.subscribe("news");
      return { client, end: () => client.disconnect() };
    },
    "ioredis 6 with RESP2": async (url) => {
      const client = new Redis(url, { protocol: 2 });
      await client.subscribe("news");
      return { client, end: () => client.disconnect() };
    },
    "node-redis 6 with RESP2": async (url) => {
      const client = createClient({ url, RESP: 2 });
      await client.connect();
      await client.subscribe("news", () => {});
      return { client, end: () => client.destroy() };
    },
  };

  test.for(Object.keys(subscribed))("is refused at once, with what to do instead (%s)", async (kind, t) => {
    const stage = await openStage(t);
    const { client, end } = await subscribed[kind]!(stage.server.url);
    const locks = new LockManager(client);
    t.onTestFinished(() => locks.close().finally(end));
    for (const refused of [locks.acquire(unique()), locks.tryAcquire(unique())]) {
      const error = await rejection(refused);
      expect(error).toMatchObject({ name: "SchemeError", code: "client-busy", transient: false });
      expect((error as Error).message).toContain("a client of its own");
    }
  });
});

test("a client that is busy with a blocking command is an error that says what to do instead", async (t) => {
  const stage = await openStage(t);
  const client = stage.client();
  const locks = new LockManager(client);
  t.onTestFinished(() => void locks.close());
  await locks.request(unique(), () => {});
  client.blpop("queue", 60).catch(() => {});
  const error = await rejection(locks.tryAcquire(unique()));
  expect(error).toMatchObject({ code: "unreachable" });
  expect((error as Error).message).toContain("BLPOP");
});

describe("a client whose answers have other types", () => {
  const mappings: Record<string, object> = {
    "strings as Buffers": { [RESP_TYPES.BLOB_STRING]: Buffer },
    "all strings as Buffers": { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer },
    "numbers as strings, arrays as sets": { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.ARRAY]: Set },
  };
  const cases = Object.keys(mappings).flatMap((mapping) => ([2, 3] as const).map((RESP) => ({ mapping, RESP })));

  test.for(cases)("($mapping, RESP$RESP) keeps locks as any other, and keeps its own types", async (each, t) => {
    const stage = await openStage(t);
    const commandOptions = { typeMapping: mappings[each.mapping]! };
    const client = createClient({ url: stage.server.url, RESP: each.RESP, commandOptions });
    await client.connect();
    t.onTestFinished(() => client.destroy());
    for (const scheme of schemes) {
      const [locks, other] = [client, stage.client()].map((on) => new LockManager(on, { scheme })) as [
        LockManager,
        LockManager,
      ];
      t.onTestFinished(() => Promise.all([locks.close(), other.close()]).then(() => undefined));
      const name = unique();
      const holder = await hold(other, name);
      const next = enqueue(locks, name);
      if (scheme === "lua") await waiting(other, name, 1);
      await holder.end();
      const lock = await until(() => next.granted, "it was handed over", 4_500);
      expect(lock.fence).toBeGreaterThan(holder.lock.fence);
      await lock.extend(60_000);
      expect((await locks.query({ name })).held).toMatchObject([{ token: lock.token }]);
      expect(await other.tryAcquire(name)).toBeNull();
      await next.end();
      expect(await leftovers(stage.redis)).toEqual([]);
    }
    await client.set("theirs", "1");
    expect(typeof (await client.get("theirs"))).toBe(each.mapping.includes("Buffers") ? "object" : "string");
  });
});

describe("a database that the server does not have", () => {
  const kinds: Record<string, (url: string) => { client: RedisClient; end(): unknown }> = {
    "ioredis 6": (url) => ioredis(new Redis(url, { db: 99 })),
    "ioredis 6 over a URL": (url) => ioredis(new Redis(`${url}/99`)),
    "ioredis 5": (url) => ioredis(new Redis5(url, { db: 99 })),
    "node-redis 6": (url) => {
      const client = createClient({ url, database: 99 });
      client.on("error", () => {});
      client.connect().catch(() => {});
      return { client, end: () => client.destroy() };
    },
  };
  const ioredis = (client: Redis | Redis5): { client: RedisClient; end(): unknown } => {
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  };

  test.for(Object.keys(kinds))("is refused, and no lock is taken in another (%s)", async (kind, t) => {
    const stage = await openStage(t);
    const { client, end } = kinds[kind]!(stage.server.url);
    for (const scheme of schemes) {
      const locks = new LockManager(client, { scheme });
      const error = await rejection(locks.acquire(unique()));
      expect(error).toMatchObject({ code: "wrong-database", transient: false });
      void locks.close();
    }
    t.onTestFinished(() => void end());
    expect(await stage.redis.dbsize()).toBe(0);
  });

  test.for(["ioredis", "redis"] as const)("is refused in a URL of ours (%s)", async (library, t) => {
    const stage = await openStage(t);
    const locks = managerOn(library, `${stage.server.url}/99`);
    expect(await rejection(locks.acquire(unique()))).toMatchObject({ code: "wrong-database" });
    expect(await stage.redis.dbsize()).toBe(0);
  });
});

test("a client that is switched to another database takes no locks until it is switched back", async (t) => {
  const stage = await openStage(t);
  const client = stage.client();
  const locks = new LockManager(client);
  t.onTestFinished(() => locks.close());
  const name = unique();
  const lock = await locks.acquire(name);
  await client.select(5);
  const error = await rejection(locks.acquire(name));
  expect(error).toMatchObject({ code: "wrong-database", transient: false });
  expect((error as Error).message).toContain("SELECT 5 was sent");
  await client.select(0);
  expect(await locks.tryAcquire(name)).toBeNull();
  expect(await lock.release()).toBe(true);
});

test.for(Object.keys(users))(
  "a manager made on a client that was switched before keeps its locks in that database (%s)",
  async (on, t) => {
    const stage = await openStage(t);
    const { client, command } = await users[on]!(t, stage.server.url);
    await command("SELECT", "5");
    const look = stage.client(stage.server.url, { db: 5 });
    for (const scheme of schemes) {
      const locks = new LockManager(client, { scheme });
      t.onTestFinished(() => locks.close());
      const name = unique();
      await locks.request(name, async () => expect(await look.exists(`lock:${name}`)).toBe(1));
      expect(await look.exists(`lock:${name}`)).toBe(0);
    }
    expect(await stage.redis.dbsize()).toBe(0);
  },
);
