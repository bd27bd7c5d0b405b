/** Fences grow with every grant of a lock, whatever becomes of the counter, the server and the scheme. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { LockManager } from "../../src/index.ts";
import { unique } from "../support/locks.ts";
import { type Stage, calls, openStage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const counter = "lock::fence";
const schemes = ["lua", "set"] as const;
const orders = schemes.flatMap((before) => schemes.map((after) => ({ before, after })));

/** What can become of the counter between two grants. Long before, the server's data was saved to its disk. */
const disturbances: Record<string, (stage: Stage) => Promise<unknown>> = {
  "nothing happened": (stage) => stage.redis.ping(),
  "the counter was deleted": (stage) => stage.redis.del(counter),
  "everything was deleted": (stage) => stage.redis.flushall(),
  "the server crashed and came back without data": async (stage) => {
    await stage.server.crash();
    await rm(join(stage.server.dir, "dump.rdb"));
    await stage.server.start();
  },
  "the server crashed and came back with older data": (stage) => stage.server.restart(),
  "the counter was far ahead of the clock": (stage) => stage.redis.incrby(counter, 3_600_000_000),
};

async function serverMicros(stage: Stage): Promise<number> {
  const [seconds, micros] = await stage.redis.time();
  return Number(seconds) * 1e6 + Number(micros);
}

/** An outage takes longer than clocks differ; for the scheme `set`, also longer than 25 ms and a round trip. */
async function afterAWhile(stage: Stage, last: number): Promise<void> {
  await until(async () => (await serverMicros(stage)) > last + 300_000, "the server's clock had moved on").catch(
    (error: unknown) => {
      // The counter may be ahead of the clock, which then counts for nothing.
      if (last < Date.now() * 1000 + 60_000_000) throw error;
    },
  );
}

async function grant(locks: LockManager, name: string): Promise<number> {
  const { fence } = await locks.request(name, { ttl: 5_000 }, (lock) => ({ fence: lock.fence }));
  expect(Number.isSafeInteger(fence)).toBe(true);
  return fence;
}

describe.concurrent("fences grow", () => {
  for (const [what, disturb] of Object.entries(disturbances)) {
    test.for(orders)(`from $before to $after, when ${what} in between`, async ({ before, after }, t) => {
      const stage = await openStage(t);
      const name = unique();
      const first = await stage.manager({ scheme: before });
      const second = await stage.manager({ scheme: after });
      const fences = [await grant(second, name), await grant(first, name)];
      await stage.redis.save();
      for (let i = 0; i < 10; i++) fences.push(await grant(first, name));
      await disturb(stage);
      if (what !== "nothing happened" && !what.includes("ahead")) await afterAWhile(stage, fences.at(-1)!);
      fences.push(await grant(second, name), await grant(first, name), await grant(second, name));
      expect(
        fences.every((fence, i) => i === 0 || fence > fences[i - 1]!),
        String(fences),
      ).toBe(true);
    });
  }

  test.for(schemes)(
    "also of requests that waited in the client while the server came back with older data (%s)",
    async (scheme, t) => {
      const stage = await openStage(t);
      const name = unique();
      const locks = await stage.manager({ scheme });
      const others = await stage.manager({ scheme });
      const fences = [await grant(others, name), await grant(locks, name)];
      await stage.redis.save();
      for (let i = 0; i < 10; i++) fences.push(await grant(others, name));
      await stage.server.crash();
      // What was asked when the last fence was but a moment old comes to a server that has never given it.
      const asked = grant(locks, name);
      await stage.server.start();
      fences.push(await asked);
      expect(
        fences.every((fence, i) => i === 0 || fence > fences[i - 1]!),
        String(fences),
      ).toBe(true);
    },
  );

  test("with each grant of many requests in one turn, of readers, writers and thieves", async (t) => {
    const stage = await openStage(t);
    const name = unique();
    const locks = await stage.manager();
    const fences: number[] = [];
    const modes = ["shared", "exclusive", "shared"] as const;
    await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        locks.request(name, { mode: modes[i % 3]! }, (lock) => void fences.push(lock.fence)),
      ),
    );
    expect(new Set(fences).size).toBe(60);
    const holder = await locks.acquire(name, { mode: "shared" });
    const thief = await locks.acquire(name, { steal: true });
    expect(holder.fence).toBeGreaterThan(Math.max(...fences));
    expect(thief.fence).toBeGreaterThan(holder.fence);
    await thief.release();
    expect(await grant(locks, name)).toBeGreaterThan(thief.fence);
  });

  test("of a request that was sent twice only once", async (t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const name = unique();
    const locks = await stage.manager({ url: proxy.url });
    const last = await grant(locks, name);
    proxy.dropReplies();
    const request = locks.acquire(name);
    await until(() => stage.redis.exists(`lock:${name}`), "the lock had been granted");
    const given = Number((await stage.redis.get(`lock:${name}`))!.split("#")[1]);
    await proxy.heal();
    expect((await request).fence).toBe(given);
    expect(given).toBeGreaterThan(last);
  });
});

describe.concurrent("the counter", () => {
  test.for(schemes)("is kept for an hour after the last grant, no longer (%s)", async (scheme, t) => {
    const stage = await openStage(t);
    const locks = await stage.manager({ scheme });
    await grant(locks, unique());
    expect(await stage.redis.pttl(counter)).toBeGreaterThan(3_590_000);
    expect(await stage.redis.pttl(counter)).toBeLessThanOrEqual(3_600_000);
    await stage.redis.pexpire(counter, 5_000);
    await grant(locks, unique());
    expect(await stage.redis.pttl(counter)).toBeGreaterThan(3_590_000);
  });

  test.for(schemes)(
    "is the only key that is left (set: with its own beside it), however many locks there were (%s)",
    async (scheme, t) => {
      const stage = await openStage(t);
      const locks = await stage.manager({ scheme });
      await Promise.all(Array.from({ length: 50 }, () => grant(locks, unique())));
      await locks.close();
      const counters = scheme === "set" ? [counter, "lock::set:fence"] : [counter];
      expect((await stage.redis.keys("*")).sort()).toEqual(counters);
    },
  );

  test("that holds something else fails the requests and is left as it is", async (t) => {
    const stage = await openStage(t);
    await stage.redis.rpush(counter, "precious");
    for (const scheme of schemes) {
      const locks = await stage.manager({ scheme });
      const error = await grant(locks, unique()).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "SchemeError", code: "wrong-type" });
    }
    expect(await stage.redis.lrange(counter, 0, -1)).toEqual(["precious"]);
    expect(await calls(stage.redis, "evalsha")).toBeLessThan(5);
  });
});
