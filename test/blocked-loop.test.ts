/** User code that blocks the event loop as soon as it holds: no lock is lost for that. */
import { describe, expect, test } from "vitest";
import type { Lock } from "../src/index.ts";
import { hold, unique, waiting as queued } from "./support/locks.ts";
import { openStage } from "./support/stage.ts";

const clients = ["ioredis 6", "node-redis 6"] as const;

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
});
