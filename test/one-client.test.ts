/** Many managers and guards on one client: its listeners and its connection for pushes are there once, and go last. */
import { AsyncLocalStorage } from "node:async_hooks";
import { fileURLToPath } from "node:url";
import { createClientPool } from "redis";
import { describe, expect, test } from "vitest";
import { driverFor } from "../src/drivers/index.ts";
import { RedisFence } from "../src/fence.ts";
import { LockManager, type RedisClient } from "../src/index.ts";
import { Run } from "./support/cli.ts";
import { enqueue, hold, rejection, unique, waiting } from "./support/locks.ts";
import { connectClient, connections, type Finishing, openStage, type Stage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import type { ClientName } from "./support/worlds.ts";

type Kind = ClientName | "node-redis pool";

const kinds: readonly Kind[] = ["ioredis 6", "ioredis 5", "iovalkey", "node-redis 6", "node-redis pool", "glide"];

/** More than this many listeners of one event, and Node warns of a leak. */
const NODE_WARNS_FROM = 10;

/** A client that has answered, so that it no longer listens to itself for the end of its first attempt. */
async function connected(t: Finishing, on: Kind, url: string): Promise<RedisClient> {
  const client = await connect(t, on, url);
  await (client as unknown as { ping(): Promise<unknown> }).ping();
  return client;
}

async function connect(t: Finishing, on: Kind, url: string, settings: object = {}): Promise<RedisClient> {
  if (on !== "node-redis pool") {
    const { client, end } = await connectClient(on, url, settings);
    t.onTestFinished(end);
    return client;
  }
  const pool = createClientPool({ url, ...settings });
  pool.on("error", () => {});
  await pool.connect();
  t.onTestFinished(() => pool.destroy());
  return pool;
}

/** Warnings of this process from now on until the test is over. */
function warnings(t: Finishing): readonly Error[] {
  const seen: Error[] = [];
  const see = (warning: Error): void => void seen.push(warning);
  process.on("warning", see);
  t.onTestFinished(() => void process.off("warning", see));
  return seen;
}

/** How many listeners the client has, of all events; 0 for one without events. */
function listeners(client: RedisClient): number {
  const emitter = client as Partial<NodeJS.EventEmitter>;
  return emitter.eventNames?.().reduce((sum, event) => sum + emitter.listenerCount!(event), 0) ?? 0;
}

async function subscribed(stage: Stage): Promise<Record<string, string>[]> {
  return (await connections(stage.redis)).filter(({ sub, ssub }) => Number(sub) + Number(ssub ?? 0) > 0);
}

async function total(stage: Stage): Promise<number> {
  return (await connections(stage.redis)).length;
}

describe.each(kinds)("with %s", (on) => {
  test("30 managers share one connection for pushes, warn of nothing, and leave nothing behind", async (t) => {
    const stage = await openStage(t);
    const warned = warnings(t);
    const client = await connected(t, on, stage.server.url);
    const [listenersBefore, connectionsBefore] = [listeners(client), await total(stage)];

    const prefixes = Array.from({ length: 30 }, (_, i) => `tenant ${i}:`);
    const managers = prefixes.map((prefix) => new LockManager(client, { prefix }));
    const holders = await Promise.all(managers.map((locks) => hold(locks, "x")));
    const waiters = managers.map((locks) => enqueue(locks, "x"));
    await Promise.all(managers.map((locks) => waiting(locks, "x", 1)));
    const hears = async (): Promise<boolean> => (await subscribed(stage))[0]?.["sub"] === "30";
    await until(hears, "all of them listened");
    expect(await subscribed(stage)).toHaveLength(1);
    if (listenersBefore > 0) expect(listeners(client) - listenersBefore).toBeLessThan(NODE_WARNS_FROM);

    await Promise.all(holders.map((each) => each.end()));
    await Promise.all(waiters.map((each) => each.granted));
    await Promise.all(waiters.map((each) => each.end()));
    await Promise.all(managers.slice(1).map((locks) => locks.close()));
    // The one that is left is still told of what it waits for.
    const last = await hold(managers[0]!, "x");
    const next = enqueue(managers[0]!, "x");
    await waiting(managers[0]!, "x", 1);
    await last.end();
    await until(() => next.granted, "it was told", 4_500);
    await next.end();
    expect(await subscribed(stage)).toHaveLength(1);

    await managers[0]!.close();
    // GLIDE takes 3 s to close a connection.
    await until(async () => (await total(stage)) === connectionsBefore, "only the client was connected", 10_000);
    expect(listeners(client)).toBe(listenersBefore);
    expect(warned).toEqual([]);
  });

  test("managers of several servers, of one, and guards share the drivers of their clients", async (t) => {
    const stages = await Promise.all([openStage(t), openStage(t), openStage(t)]);
    const clients = await Promise.all(stages.map(({ server }) => connected(t, on, server.url)));
    const before = listeners(clients[0]!);
    const several = Array.from({ length: 12 }, () => new LockManager(clients));
    const one = new LockManager(clients[0]);
    const guards = Array.from({ length: 12 }, () => new RedisFence(clients[0]!));
    const all = [...several, one];
    const write = (guard: RedisFence, i: number): Promise<unknown> =>
      all[i]!.request(unique(), (lock) => guard.write(lock, "SET", lock.name, "b"));
    await Promise.all(guards.map(write));
    if (before > 0) expect(listeners(clients[0]!) - before).toBeLessThan(NODE_WARNS_FROM);
    const held = await hold(several[0]!, "x");
    const waiter = enqueue(several[1]!, "x");
    const holder = await hold(one, "y");
    const queued = enqueue(one, "y");
    await until(async () => Number((await subscribed(stages[0]))[0]?.["sub"]) >= 2, "both kinds listened");
    expect(await subscribed(stages[0])).toHaveLength(1);
    await Promise.all([held.end(), holder.end()]);
    await Promise.all([waiter.granted, queued.granted]);
    await Promise.all([waiter.end(), queued.end()]);
    for (const guard of guards) guard.close();
    await Promise.all(all.map((locks) => locks.close()));
    expect(listeners(clients[0]!)).toBe(before);
    await until(async () => (await subscribed(stages[0])).length === 0, "nobody listened any more", 10_000);
  });

  test("what a request makes the driver open does not run in that request's async context", async (t) => {
    const stage = await openStage(t);
    const context = new AsyncLocalStorage<string>();
    const lazy = on.startsWith("node-redis") ? {} : { lazyConnect: true };
    const client = await connect(t, on, stage.server.url, lazy);
    const seen: [string, string | undefined][] = [];
    const note = (what: string): void => void seen.push([what, context.getStore()]);
    const driver = await context.run("a request", async () => {
      const made = driverFor(client);
      made.subscribe("news", { message: (text) => note(text), up: () => note("up") });
      await made.send(["PING"]);
      return made;
    });
    t.onTestFinished(() => driver.close());
    await until(() => seen.some(([what]) => what === "up"), "it listened");
    await stage.redis.publish("news", "first");
    await until(() => seen.some(([what]) => what === "first"), "it heard");
    await stage.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    await until(() => seen.filter(([what]) => what === "up").length === 2, "it listened again");
    await stage.redis.publish("news", "second");
    await until(() => seen.some(([what]) => what === "second"), "it heard again");
    expect(seen.filter(([, store]) => store !== undefined)).toEqual([]);
  });
});

describe("a pool of node-redis", () => {
  async function open(t: Finishing, url: string) {
    const pool = createClientPool({ url }, { minimum: 1, maximum: 1, acquireTimeout: 200 });
    pool.on("error", () => {});
    await pool.connect();
    t.onTestFinished(() => void (pool.isOpen && pool.destroy()));
    return pool;
  }

  test("that is busy when a lock is first waited for is listened for as soon as it is not", async (t) => {
    const stage = await openStage(t);
    const pool = await open(t, stage.server.url);
    const busy = pool.execute((client) => client.blPop("nothing", 1));
    const driver = driverFor(pool);
    t.onTestFinished(() => driver.close());
    let ups = 0;
    driver.subscribe("news", { message: () => {}, up: () => ups++ });
    expect(String(await rejection(driver.send(["PING"])))).toContain("Timeout waiting for a client");
    expect(ups).toBe(0);
    await busy;
    await until(() => ups > 0, "it listened");
    expect(await driver.send(["PING"])).toBe("PONG");
  });

  test("takes its own connection for locks along when it ends", async (t) => {
    const stage = await openStage(t);
    const pool = await open(t, stage.server.url);
    const driver = driverFor(pool);
    t.onTestFinished(() => driver.close());
    await driver.send(["PING"]);
    expect(await total(stage)).toBe(3);
    pool.destroy();
    expect(String(await rejection(driver.send(["PING"])))).toContain("The client is closed");
    await until(async () => (await total(stage)) === 1, "only the looker was connected");
  });
});

const library = fileURLToPath(new URL("../dist/index.js", import.meta.url));

describe("a process ends when its clients are closed, though its managers are not", () => {
  const programs: Record<string, (url: string) => string> = {
    "ioredis with a keyPrefix": (url) => `
      const { Redis } = require("ioredis");
      const client = new Redis("${url}", { keyPrefix: "shop:" });
      const end = () => client.quit();`,
    ioredis: (url) => `
      const { Redis } = require("ioredis");
      const client = new Redis("${url}");
      const end = () => client.quit();`,
    "node-redis": (url) => `
      const client = require("redis").createClient({ url: "${url}" });
      const connected = client.connect();
      const end = () => client.close();`,
    "a pool of node-redis": (url) => `
      const client = require("redis").createClientPool({ url: "${url}" });
      const connected = client.connect();
      const end = () => client.close();`,
  };

  test.for(Object.keys(programs))("%s", async (kind, t) => {
    const stage = await openStage(t);
    const script = `
      ${programs[kind]!(stage.server.url)}
      const { LockManager } = require(${JSON.stringify(library)});
      (async () => {
        if (typeof connected !== "undefined") await connected;
        const locks = new LockManager(client);
        const held = await locks.acquire("x");
        const next = locks.acquire("x");
        await new Promise((resolve) => setTimeout(resolve, 200));
        await held.release();
        await (await next).release();
        console.log("done");
        await end();
      })();`;
    const run = new Run(process.execPath, ["-e", script], process.env);
    t.onTestFinished(() => run.signal("SIGKILL"));
    const { code, stdout } = await run.ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: "done\n" });
  });
});
