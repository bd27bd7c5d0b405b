/** What an extension does on the server: to exactly the grant that it names. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { LockManager } from "../src/index.ts";
import { rejection } from "./support/locks.ts";

let server: Server;
let redis: Redis;
let locks: LockManager;

beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url);
  locks = new LockManager(redis, { prefix: "", ttl: 60_000 });
});
afterAll(async () => {
  await locks.close();
  redis.disconnect();
  await server.stop();
});

test.each([
  ["another holder", `${"x".repeat(22)}:1#5`, "stolen"],
  ["another holder with a label", `${"x".repeat(22)}:1#5#web7`, "stolen"],
  ["another library", "5f3c", "stolen"],
])("does not lengthen the lease of %s, and the lock is lost", async (_, value, reason) => {
  await using lock = await locks.acquire("a");
  await redis.set("a", value, "PX", 30_000);
  expect(await rejection(lock.extend())).toMatchObject({ code: "lost", reason });
  expect([await redis.get("a"), (await redis.pttl("a")) <= 30_000]).toEqual([value, true]);
  await redis.del("a");
});

test("does not lengthen a later grant of the same token", async () => {
  await using lock = await locks.acquire("b");
  await redis.set("b", `${lock.token}#${lock.fence + 1}`, "PX", 30_000);
  expect(await rejection(lock.extend())).toMatchObject({ code: "lost" });
  expect(await redis.pttl("b")).toBeLessThanOrEqual(30_000);
  await redis.del("b");
});

test("finds that the lock is gone", async () => {
  await using lock = await locks.acquire("c");
  await redis.del("c");
  expect(await rejection(lock.extend())).toMatchObject({ code: "lost", reason: "expired" });
  expect(await redis.exists("c")).toBe(0);
});

test.each([undefined, "web7"])(
  "never shortens a lease, and lengthens one that is shorter (label: %s)",
  async (label) => {
    await using lock = await locks.acquire("d", label === undefined ? {} : { label });
    await redis.pexpire("d", 90_000);
    await lock.extend();
    expect(await redis.pttl("d")).toBeGreaterThan(80_000);
    await redis.pexpire("d", 1_000);
    await lock.extend();
    expect(await redis.pttl("d")).toBeGreaterThan(50_000);
  },
);

test("of shared holders and exclusive ones together lengthens each", async () => {
  const held = await Promise.all(
    Array.from({ length: 6 }, (_, i) => locks.acquire(`e${i}`, { mode: i % 2 ? "shared" : "exclusive", ttl: 5_000 })),
  );
  await Promise.all(held.map((lock) => lock.extend(60_000)));
  for (const i of held.keys()) expect(await redis.pttl(`e${i}`), `e${i}`).toBeGreaterThan(50_000);
  await Promise.all(held.map((lock) => lock.release()));
});
