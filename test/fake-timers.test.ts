/** Timers that a test fakes do not move holdfast's own clock: what docs/testing.md says, with Vitest. */
import { Redis } from "ioredis";
import { afterEach, expect, test, vi } from "vitest";
import { LockManager } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { openStage } from "./support/stage.ts";
import { untilRisen } from "./support/until.ts";

afterEach(() => void vi.useRealTimers());

test("with fake timers, locks on a server are granted, handed over and renewed in real time", async (t) => {
  const { server } = await openStage(t);
  const [a, b] = [new Redis(server.url), new Redis(server.url)].map((redis) => {
    t.onTestFinished(() => redis.disconnect());
    return new LockManager(redis);
  }) as [LockManager, LockManager];
  await Promise.all([a, b].map((locks) => locks.request("warm", () => undefined)));
  vi.useFakeTimers();
  const first = await a.acquire("x", { ttl: 3_000 });
  const second = b.acquire("x");
  const faked = new Promise((resolve) => setTimeout(resolve, 9_000));
  await vi.advanceTimersByTimeAsync(9_000);
  await faked;
  expect(first.remaining, "as much as before").toBeGreaterThan(0);
  vi.useRealTimers();
  await untilRisen(() => first.remaining, "it was renewed");
  vi.useFakeTimers();
  await first.release();
  await (await second).release();
  await Promise.all([a.close(), b.close()]);
});

test("a test steers leases by TestLocks, with fake timers or without", async () => {
  vi.useFakeTimers();
  const locks = new TestLocks();
  const manager = locks.manager();
  const lock = await manager.acquire("x", { ttl: 1_000, renew: false });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(lock.held).toBe(true);
  await locks.clock.advance(1_001);
  expect(lock.held).toBe(false);
  await manager.close();
});
