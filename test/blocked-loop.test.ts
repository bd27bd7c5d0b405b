/** User code that blocks the event loop as soon as it holds: no lock is lost for that. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Lock, LockManager } from "../src/index.ts";
import { hold, turn, unique, waiting as queued } from "./support/locks.ts";
import { openNodes } from "./support/nodes.ts";
import { connectClient, openStage } from "./support/stage.ts";

const clients = ["ioredis 6", "node-redis 6"] as const;

/** Keeps a server busy for 0.3 s. */
const BUSY = `
local function micros() local now = redis.call('TIME'); return now[1] * 1000000 + now[2] end
local start = micros()
repeat until micros() - start > 300000
`;

function block(duration: number): void {
  const end = performance.now() + duration;
  while (performance.now() < end);
}

// One after the other: each blocks the loop that all tests of this file share.
describe.each(clients)("on %s", (on) => {
  test("a callback that waited, and begins with 1.2 s of synchronous work, keeps its lock", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager({ on }), name);
    const work = async (lock: Lock): Promise<boolean> => {
      // Longer than a pushed grant lasts until it is extended.
      block(1_200);
      await lock.extend();
      return lock.held;
    };
    const locks = await stage.manager({ on });
    const request = locks.request(name, work);
    await queued(locks, name, 1);
    await holder.end();
    expect(await request).toBe(true);
  });

  test("50 locks that are handed over at once keep all their holders, each of which works for 30 ms", async (t) => {
    const stage = await openStage(t);
    const names = Array.from({ length: 50 }, () => unique());
    const holding = await stage.manager({ on });
    const holders = await Promise.all(names.map((name) => hold(holding, name)));
    const waiting = await stage.manager({ on });
    // Together it takes longer than a pushed grant lasts until it is extended.
    const work = async (lock: Lock): Promise<boolean> => {
      const wasHeld = lock.held;
      block(30);
      await lock.extend();
      return wasHeld && lock.held;
    };
    const requests = names.map((name) => waiting.request(name, work));
    await Promise.all(names.map((name) => queued(waiting, name, 1)));
    await Promise.all(holders.map((holder) => holder.end()));
    expect(await Promise.all(requests)).toEqual(names.map(() => true));
  });

  test("waiters of one process that work synchronously one after the other keep their lock", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const holder = await hold(await stage.manager({ on }), name);
    const locks = await stage.manager({ on });
    const work = async (lock: Lock): Promise<boolean> => {
      block(1_100); // longer than a turn, so that each is granted by a push of its own
      await lock.extend();
      return lock.held;
    };
    const requests = [1, 2].map(() => locks.request(name, work));
    await queued(locks, name, 2);
    await holder.end();
    expect(await Promise.all(requests)).toEqual([true, true]);
  });

  test("a lease over several nodes is extended, though the process works for 2.3 s while they answer", async (t) => {
    const nodes = await openNodes(t);
    const connected = await Promise.all(nodes.servers.map(({ url }) => connectClient(on, url)));
    t.onTestFinished(() => connected.forEach(({ end }) => end()));
    const locks = new LockManager(connected.map(({ client }) => client));
    const lock = await locks.acquire(unique(), { ttl: 10_000, renew: false });
    // Each answers while this process reads nothing.
    const busy = nodes.redis.map((redis) => redis.eval(BUSY, 0));
    await turn();
    const extended = lock.extend();
    await sleep(50); // until that is written
    // Longer than answers of different nodes may lie apart to count together.
    block(2_300);
    await extended;
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
    await Promise.all(busy);
    await locks.close();
  });
});
