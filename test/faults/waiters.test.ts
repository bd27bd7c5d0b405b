/** What happens to those who wait when messages, processes and servers fail. */
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import type { LockManager } from "../../src/index.ts";
import { LockTimeoutError } from "../../src/index.ts";
import { enqueue, hold, rejection, unique, waiting } from "../support/locks.ts";
import { PROCESSES, participant } from "../support/processes.ts";
import { type Finishing, type Stage, listening, openStage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clientNames } from "../support/worlds.ts";

/** Longer than a claim window, much shorter than the interval of pokes: who is served in it was not served by a poke. */
const BEFORE_ANY_POKE = 3_000;

/** Says so when the promise is not fulfilled in time. */
async function soon<T>(promise: Promise<T>, what: string, timeoutMs = BEFORE_ANY_POKE): Promise<T> {
  let settled = false;
  const settle = (): void => void (settled = true);
  promise.then(settle, settle);
  await until(() => settled, what, timeoutMs);
  return promise;
}

/** Every push that the server sends, whoever it is for. */
async function pushes(stage: Stage): Promise<string[]> {
  const seen: string[] = [];
  const listener = stage.client();
  listener.on("pmessage", (_pattern, _channel, text: string) => seen.push(text));
  await listener.psubscribe("*push:*");
  return seen;
}

/** The tokens in the queue of the lock, in their order. */
function queue(stage: Stage, name: string): Promise<string[]> {
  return stage.redis.zrange(`{lock:${name}}:queue`, "0", "-1");
}

/** A client whose subscriptions receive nothing. */
function deafClient(t: Finishing, url: string): Redis {
  const redis = new Redis(url);
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => {
    const copy = duplicate(override);
    const on = copy.on.bind(copy);
    copy.on = ((event: string, listener: () => void) => (event === "message" ? copy : on(event, listener))) as never;
    return copy;
  };
  t.onTestFinished(() => redis.disconnect());
  return redis;
}

describe.concurrent("a waiter is served", () => {
  test("by its own poke when the push never arrives", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const deaf = await stage.manager({ client: deafClient(t, stage.server.url) });
    const waiter = enqueue(deaf, name);
    await waiting(deaf, name, 1);
    await listening(stage.redis, 2);
    await holder.end();
    await soon(waiter.granted, "the waiter had asked by itself", 8_000);
    await waiter.end();
  });

  test("within its claim window when its account may not subscribe", async (t) => {
    const stage = await openStage(t);
    const rules = ["on", ">pw", "~*", "+@all", "-subscribe"];
    await stage.redis.call("ACL", "SETUSER", "quiet", ...rules);
    // Before 6.2 channels were everybody's.
    await stage.redis.call("ACL", "SETUSER", "quiet", "resetchannels").catch(() => {});
    const name = unique();
    const url = stage.server.url.replace("//", "//quiet:pw@");
    const quiet = await stage.manager({ url });
    const holder = await hold(await stage.manager(), name);
    const pushed = await pushes(stage);
    const waiter = enqueue(quiet, name);
    await waiting(quiet, name, 1);
    await holder.end();
    await soon(waiter.granted, "the deaf waiter was served");
    expect(pushed.filter((text) => text.startsWith("granted"))).toHaveLength(1);
    await waiter.end();
  });

  test("by its push, though another waiter of the same manager gave up", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const locks = await stage.manager();
    const patient = enqueue(locks, name);
    await waiting(locks, name, 1);
    const error = await rejection(locks.acquire(name, { waitTimeout: 50 }));
    expect(error).toBeInstanceOf(LockTimeoutError);
    await holder.end();
    await soon(patient.granted, "the other waiter was served");
    await patient.end();
  });

  test.for(clientNames)("once the lease of a crashed holder has ended (%s)", async (on, t) => {
    const stage = await openStage(t);
    const [lua, set] = [unique("lua"), unique("set")];
    for (const [scheme, name] of [
      ["lua", lua],
      ["set", set],
    ] as const) {
      const key = `lock:${name}`;
      // As a crash leaves it: nobody renews this token, nobody releases it.
      await stage.redis.set(key, "AAAAAAAAAAAAAAAAAAAAAA:0#1", "PX", 300);
      const next = await stage.manager({ on, scheme });
      const lock = await soon(next.acquire(name), `${scheme} served the waiter`);
      expect(await stage.redis.get(key)).toContain(lock.token);
      await lock.release();
    }
  });

  test("after the ttl when the process that held was killed, and not before", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await participant(t, stage.server.url, { ttl: 3_000 });
    const held = await holder.acquire(name);
    const locks = await stage.manager();
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 1);
    await holder.kill();
    expect(await stage.redis.get(`lock:${name}`)).toContain(held.token);
    const lock = await soon(waiter.granted, "the next one was served");
    expect(lock.fence).toBeGreaterThan(held.fence!);
    await waiter.end();
  });

  test("at once when the process before it in the queue was killed", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const crashed = await participant(t, stage.server.url);
    await crashed.tell("enqueue", name);
    const locks = await stage.manager();
    await waiting(locks, name, 1);
    await listening(stage.redis, 2);
    const [dead] = await queue(stage, name);
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 2);
    await listening(stage.redis, 3);
    await crashed.kill();
    await listening(stage.redis, 2);
    const pushed = await pushes(stage);
    await holder.end();
    const lock = await soon(waiter.granted, "the living one was served");
    expect(pushed.some((text) => text.includes(dead!))).toBe(false);
    expect(pushed.some((text) => text.includes(lock.token))).toBe(true);
    await waiter.end();
  });

  test("after a claim window when the process before it in the queue is frozen", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const frozen = await participant(t, stage.server.url);
    await frozen.tell("enqueue", name);
    const locks = await stage.manager();
    await waiting(locks, name, 1);
    await listening(stage.redis, 2);
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 2);
    await listening(stage.redis, 3);
    frozen.freeze();
    await holder.end();
    const lock = await soon(waiter.granted, "the one behind was served");
    // The frozen one was granted first and did not claim. When it goes on, it waits again.
    frozen.thaw();
    await waiting(locks, name, 1);
    expect(lock.held).toBe(true);
    await waiter.end();
    await until(async () => (await frozen.state()).held, "the thawed process was served");
    expect((await frozen.state()).fence).toBeGreaterThan(lock.fence);
  });

  test("after a poke and their claim windows when several before it are frozen", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager(), name);
    const frozen = await participant(t, stage.server.url);
    await frozen.tell("enqueue", name);
    await frozen.tell("enqueue", name);
    const locks = await stage.manager();
    await waiting(locks, name, 2);
    await listening(stage.redis, 2);
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 3);
    await listening(stage.redis, 3);
    frozen.freeze();
    await holder.end();
    await soon(waiter.granted, "the living one was served", 8_500);
    await waiter.end();
  });
});

test("a living waiter behind 450 dead ones is served within a poke", async (t) => {
  const stage = await openStage(t);
  const name = unique();
  const holder = await hold(await stage.manager(), name);
  const locks = await stage.manager();
  const waiter = enqueue(locks, name);
  await waiting(locks, name, 1);
  await listening(stage.redis, 2);
  // As many waiters of a process whose connections are gone, before the living one.
  const [line, waiters] = [`{lock:${name}}:queue`, `{lock:${name}}:waiters`];
  const [token = ""] = await queue(stage, name);
  const record = (await stage.redis.hget(waiters, token)) ?? "";
  const dead = Array.from({ length: 450 }, (_, i) => `dead:${i}`);
  await stage.redis.hset(waiters, Object.fromEntries(dead.map((each) => [each, record])));
  for (const [i, each] of dead.entries()) await stage.redis.zadd(line, i + 1, each);
  await holder.end();
  await soon(waiter.granted, "the living one was served", 4_000);
  await waiter.end();
  await until(async () => (await stage.redis.exists(line, waiters)) === 0, "the dead were cleared away");
});

describe.concurrent("when the server lost its memory", () => {
  test("waiters are served again in the order of their tickets", async (t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const name = unique();
    const holder = await hold(await stage.manager(), name, { ttl: 3_000 });
    const waiters = [];
    for (const [i, on] of clientNames.entries()) {
      const locks = await stage.manager({ on, url: proxy.url });
      waiters.push(enqueue(locks, name));
      await until(async () => (await queue(stage, name)).length === i + 1, "one more waited");
    }
    const before = await queue(stage, name);
    await proxy.refuse();
    await stage.server.restart();
    // Keeps them from being served while they come back, so that all of them have to queue.
    await stage.redis.set(`lock:${name}`, "somebody else");
    await proxy.heal();
    await until(async () => (await queue(stage, name)).length === before.length, "all had come back", 10_000);
    expect(await queue(stage, name)).toEqual(before);
    await stage.redis.del(`lock:${name}`);
    for (const [i, waiter] of waiters.entries()) {
      const lock = await soon(waiter.granted, `waiter ${i} was served in its turn`);
      expect(lock.token).toBe(before[i]);
      expect(lock.fence).toBeGreaterThan(holder.lock.fence);
      await waiter.end();
    }
    await until(() => !holder.lock.held, "the holder of before had learned of it");
  });

  test.for(clientNames)("after a crash the holder learns of it and the waiter holds (%s)", async (on, t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager({ on }), name, { ttl: 3_000 });
    const { signal } = holder.lock;
    const locks = await stage.manager({ on });
    const waiter = enqueue(locks, name);
    await until(async () => (await queue(stage, name)).length === 1, "one waited");
    await stage.server.restart();
    const lock = await soon(waiter.granted, "the waiter was served");
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    await until(() => signal.aborted, "the holder had learned of it");
    await holder.end();
    expect(lock.held).toBe(true);
    await waiter.end();
  });

  test("FLUSHALL is noticed by the holder's renewal, and the waiter holds", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const [one, other]: LockManager[] = [await stage.manager(), await stage.manager()];
    const holder = await hold(one!, name, { ttl: 3_000 });
    const waiter = enqueue(other!, name);
    await waiting(other!, name, 1);
    await stage.redis.flushall();
    const lock = await soon(waiter.granted, "the waiter was served");
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    await until(() => !holder.lock.held, "the holder had learned of it");
    expect(lock.held).toBe(true);
    await waiter.end();
  });

  test("SCRIPT FLUSH is not noticed by anybody", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const [one, other]: LockManager[] = [await stage.manager(), await stage.manager({ on: "node-redis 6" })];
    const holder = await hold(one!, name);
    await stage.redis.script("FLUSH");
    const waiter = enqueue(other!, name);
    await waiting(other!, name, 1);
    await stage.redis.script("FLUSH");
    await holder.lock.extend();
    await stage.redis.script("FLUSH");
    await holder.end();
    await soon(waiter.granted, "the waiter was served");
    await waiter.end();
  });
});
