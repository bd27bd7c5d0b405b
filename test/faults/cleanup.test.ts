/** What is left behind: nothing. And how little is asked of a server meanwhile. */
import { type EventEmitter, getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { deferred, enqueue, hold, rejection, unique, waiting } from "../support/locks.ts";
import { PROCESSES, participant } from "../support/processes.ts";
import {
  cleared,
  connectClient,
  connections,
  leftovers,
  listening,
  onEach,
  openStage,
  scriptCalls,
  unhandledRejections,
} from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clientNames } from "../support/worlds.ts";

const schemes = ["lua", "set"] as const;
const everywhere = schemes.flatMap((scheme) => clientNames.map((on) => ({ scheme, on })));

/** How many listeners a client has, event by event. */
function listeners(client: object): Record<string, number> {
  const emitter = client as EventEmitter;
  if (typeof emitter.eventNames !== "function") return {}; // GLIDE has no events
  const names = emitter.eventNames().map(String).sort();
  return Object.fromEntries(names.map((name) => [name, emitter.listenerCount(name)]));
}

describe.concurrent("close()", () => {
  test.for(everywhere)("takes its listeners and connections along ($scheme on $on)", async ({ scheme, on }, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const { client, end } = await connectClient(on, stage.server.url);
    t.onTestFinished(end);
    const other = await stage.manager({ scheme, on });
    const name = unique();
    const holder = await hold(other, name);
    // With the scheme set, the other manager may open a connection for renewals; once it has renewed, it is open.
    await holder.lock.extend();
    // Of the scheme lua, the other manager listens on a connection of its own.
    const all = scheme === "lua" ? 4 : 3;
    await until(async () => (await connections(stage.redis)).length >= all, "all had connected");
    const [before, heard] = [(await connections(stage.redis)).length, listeners(client)];
    for (let round = 0; round < 3; round++) {
      const locks = new LockManager(client, { scheme });
      const lock = await locks.acquire(unique());
      await lock.extend();
      const waiter = rejection(locks.acquire(name));
      const more = async (): Promise<boolean> => (await connections(stage.redis)).length > before;
      // The set scheme opens one only where the server cannot compare and delete.
      if (scheme === "lua") await until(more, "it had a connection of its own");
      await locks.close();
      expect(await waiter).toMatchObject({ code: "closed" });
    }
    expect(listeners(client)).toEqual(heard);
    await until(async () => (await connections(stage.redis)).length === before, "its connections were gone");
    await holder.end();
    await cleared(stage.redis);
    expect(await stage.redis.keys("*client:*")).toHaveLength(1); // of the other manager
    expect(rejections).toEqual([]);
  });

  test.for(clientNames)("while its own connection is being made leaves none (%s)", async (on, t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const proxy = await stage.proxy();
    const { client, end } = await connectClient(on, proxy.url);
    t.onTestFinished(end);
    const warm = new LockManager(client, { scheme: "set" });
    await (await warm.acquire(unique())).release();
    await warm.close();
    await until(() => proxy.connections === 1, "only the client itself was connected");
    for (const wait of [0, 5, 20, 60]) {
      proxy.delay(20);
      const locks = new LockManager(client);
      const lock = locks.acquire(unique()).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, wait)); // some moment while it connects
      await locks.close();
      await lock;
      proxy.delay(0);
      await until(() => proxy.connections === 1, `its connection was gone after ${wait} ms`);
    }
    expect(rejections).toEqual([]);
  });

  test("ends in bounded time when the server does not answer", async (t) => {
    const rejections = unhandledRejections(t);
    await onEach(everywhere, async (kind) => {
      const stage = await openStage(t);
      const locks = await stage.manager(kind);
      const name = unique();
      await locks.acquire(name);
      const waiter = rejection(locks.acquire(name));
      await until(async () => (await scriptCalls(stage.redis)) > 1 || kind.scheme === "set", "it waited");
      stage.server.freeze();
      await until(() => locks.close().then(() => true), "the manager was closed", 30_000);
      expect(await waiter).toMatchObject({ code: "closed" });
    });
    expect(rejections).toEqual([]);
  });
});

describe.concurrent("a program whose work is done", () => {
  test.for([
    { on: "ioredis", how: "close" },
    { on: "ioredis", how: "leave" },
    { on: "node-redis", how: "close" },
    { on: "node-redis", how: "leave" },
    { on: "glide", how: "close" },
    { on: "glide", how: "leave" },
  ] as const)("ends by itself, also while it holds and waits ($on, $how)", PROCESSES, async ({ on, how }, t) => {
    const stage = await openStage(t);
    const name = unique();
    const program = await participant(t, stage.server.url, { on });
    await program.acquire(name);
    await program.tell("enqueue", name);
    await until(async () => (await stage.redis.zcard(`{lock:${name}}:queue`)) === 1, "it waited");
    await listening(stage.redis, 1);
    expect(await program.tell("finish", how)).toBe("finished");
    let code: number | null | undefined;
    void program.exited.then((value) => (code = value));
    await until(() => code !== undefined, "it had ended by itself", 30_000);
    expect(code).toBe(0);
    if (how === "close") expect(await leftovers(stage.redis)).toEqual([]);
  });
});

describe.concurrent("a waiter", () => {
  test("that is killed leaves keys that end by themselves", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const program = await participant(t, stage.server.url);
    await program.tell("enqueue", name);
    await until(async () => (await stage.redis.zcard(`{lock:${name}}:queue`)) === 1, "it waited");
    await program.kill();
    for (const key of (await leftovers(stage.redis)).filter((each) => each.includes("{"))) {
      const left = await stage.redis.pttl(key);
      expect(left, key).toBeGreaterThan(0);
      expect(left, key).toBeLessThanOrEqual(120_000);
    }
    for (const key of await stage.redis.keys("*")) expect(await stage.redis.pttl(key), key).toBeGreaterThan(0);
    await holder.end();
    await cleared(stage.redis);
  });

  test("leaves no listener on its signal, however its wait ends", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const name = unique();
    const { signal } = new AbortController();
    await (await locks.acquire(name, { signal })).release();
    const holder = await hold(locks, name);
    expect(await rejection(locks.acquire(name, { signal, waitTimeout: 20 }))).toMatchObject({ code: "timeout" });
    const queued = enqueue(locks, name, { signal });
    await holder.end();
    await queued.granted;
    await queued.end();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("asks once per poke interval at most, wherever it stands", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name, { ttl: 60_000 });
    const places = [];
    for (let i = 0; i < 4; i++) {
      const locks = await stage.manager();
      places.push(enqueue(locks, name));
      await until(async () => (await stage.redis.zcard(`{lock:${name}}:queue`)) === i + 1, "one more waited");
    }
    await listening(stage.redis, 5);
    // Each asks once more when its subscription stands. From then on a poke takes 5 s.
    await until(async () => {
      const asked = await scriptCalls(stage.redis);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return asked === (await scriptCalls(stage.redis));
    }, "all were quiet");
    const [before, started] = [await scriptCalls(stage.redis), performance.now()];
    await until(() => performance.now() > started + 3_000, "three seconds had passed");
    const intervals = Math.ceil((performance.now() - started) / 4_500);
    expect((await scriptCalls(stage.redis)) - before).toBeLessThanOrEqual(places.length * intervals);
    await holder.end();
    for (const place of places) await place.end();
  });
});

describe.concurrent("many at once", () => {
  test("all of 250 shared waiters hold together after an exclusive release", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const locks = [await stage.manager(), await stage.manager({ on: "node-redis 6" })];
    const readers = Array.from({ length: 250 }, (_, i) => enqueue(locks[i % 2]!, name, { mode: "shared" }));
    await waiting(locks[0]!, name, 250);
    await listening(stage.redis, 3);
    await holder.end();
    const all = Promise.all(readers.map(({ granted }) => granted));
    const granted = await until(() => all, "all of them held", 4_500);
    expect(granted.every((lock) => lock.held)).toBe(true);
    expect(new Set(granted.map((lock) => lock.fence)).size).toBe(250);
    await Promise.all(readers.map((reader) => reader.end()));
    await cleared(stage.redis);
  });

  test("1,000 leases are renewed in few calls", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const held = await Promise.all(Array.from({ length: 1_000 }, () => locks.acquire(unique(), { ttl: 3_000 })));
    const before = await scriptCalls(stage.redis);
    const deadlines = (): number[] => held.map((lock) => performance.now() + lock.remaining);
    const first = deadlines();
    await until(() => deadlines().every((deadline, i) => deadline > first[i]! + 100), "all leases had been renewed");
    expect((await scriptCalls(stage.redis)) - before).toBeLessThan(100);
    await Promise.all(held.map((lock) => lock.release()));
    await cleared(stage.redis);
  });

  test("a callback that throws at once, a thousand times, leaves nothing", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const name = unique();
    const errors = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) =>
        rejection(
          locks.request(i % 2 ? name : unique(), () => {
            throw new RangeError(String(i));
          }),
        ),
      ),
    );
    expect(errors.every((error, i) => error instanceof RangeError && error.message === String(i))).toBe(true);
    await cleared(stage.redis);
    expect((await locks.query()).held).toEqual([]);
  });

  test("requests that are aborted in every state leave nothing", async (t) => {
    const stage = await openStage(t);
    const rejections = unhandledRejections(t);
    const locks = await stage.manager();
    const name = unique();
    const blocked = deferred();
    const holder = locks.request(name, () => blocked.promise);
    const aborts = Array.from({ length: 100 }, () => new AbortController());
    const requests = aborts.map(({ signal }) => rejection(locks.request(name, { signal }, () => {})));
    for (const [i, abort] of aborts.entries()) {
      if (i % 3 === 0) abort.abort(i);
      else if (i % 3 === 1) setImmediate(() => abort.abort(i));
      else setTimeout(() => abort.abort(i), i % 20);
    }
    expect(await Promise.all(requests)).toEqual(aborts.map((_, i) => i));
    blocked.resolve();
    await holder;
    await cleared(stage.redis);
    expect(rejections).toEqual([]);
  });
});
