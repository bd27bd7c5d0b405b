/** What the guide to moving from other libraries says of exclusion, with the true packages, whoever comes first. */
import { Verrou } from "@verrou/core";
import { redisStore } from "@verrou/core/drivers/redis";
import { createClient } from "redis";
import { createLock, createRedlock, IoredisAdapter, LockManager as Batches, NodeRedisAdapter } from "redlock-universal";
import { expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { type Machines, openMachines, rejection } from "./stage.ts";
import type { Finishing } from "../support/stage.ts";

function ours(t: Finishing, machines: Machines): LockManager {
  const clients = machines.clients();
  const locks = new LockManager(clients.length === 1 ? clients[0] : clients, { prefix: "" });
  t.onTestFinished(() => locks.close());
  return locks;
}

test("Verrou and a LockManager without a prefix exclude one another", async (t) => {
  const machines = await openMachines(t, 1);
  const [connection] = machines.clients();
  const verrou = new Verrou({
    default: "redis",
    stores: { redis: { driver: redisStore({ connection: connection! }) } },
  });
  const locks = ours(t, machines);
  const theirs = verrou.createLock("report", "10s");
  expect(await theirs.acquireImmediately()).toBe(true);
  expect(await locks.tryAcquire("report")).toBeNull();
  await theirs.release();
  const lock = await locks.tryAcquire("report");
  expect(await verrou.createLock("report", "10s").acquireImmediately()).toBe(false);
  await lock!.release();
  expect(await theirs.acquireImmediately()).toBe(true);
});

const once = { retryAttempts: 0, ttl: 10_000 };

test.for(["ioredis", "node-redis"])(
  "redlock-universal's createLock, on %s, and a LockManager without a prefix exclude one another",
  async (client, t) => {
    const machines = await openMachines(t, 1);
    const redis = createClient({ url: machines.servers[0]!.url });
    redis.on("error", () => {});
    await redis.connect();
    t.onTestFinished(() => redis.destroy());
    const adapter =
      client === "ioredis" ? new IoredisAdapter(machines.clients()[0] as never) : new NodeRedisAdapter(redis);
    const locks = ours(t, machines);
    const theirs = createLock({ adapter, key: "invoice", ...once });
    const handle = await theirs.acquire();
    expect(await locks.tryAcquire("invoice")).toBeNull();
    // What waits is served once it is released.
    const waits = locks.acquire("invoice");
    expect(await theirs.release(handle)).toBe(true);
    const lock = await waits;
    expect((await rejection(theirs.acquire())).name).toBe("LockAcquisitionError");
    expect(await theirs.isLocked("invoice")).toBe(true);
    expect(await theirs.extend(handle, 10_000)).toBe(false);
    expect(await lock.release()).toBe(true);
    expect(await theirs.release(await theirs.acquire())).toBe(true);
  },
);

test("redlock-universal's acquireBatch and a LockManager without a prefix exclude one another", async (t) => {
  const machines = await openMachines(t, 1);
  const batches = new Batches({ nodes: [new IoredisAdapter(machines.clients()[0] as never)], defaultTTL: 10_000 });
  const locks = ours(t, machines);
  const handles = await batches.acquireBatch(["a", "b"]);
  expect(await locks.tryAcquire("b")).toBeNull();
  await batches.releaseBatch(handles);
  const lock = await locks.acquire(["b", "c"]);
  expect(await rejection(batches.acquireBatch(["a", "b"]))).toBeInstanceOf(Error);
  expect(await locks.query({ name: "a" })).toEqual({ held: [], pending: [] });
  await lock.release();
});

test("redlock-universal's createRedlock and a LockManager over the same three servers exclude one another", async (t) => {
  const machines = await openMachines(t, 3);
  const adapters = machines.clients().map((client) => new IoredisAdapter(client as never));
  const locks = ours(t, machines);
  const theirs = createRedlock({ adapters, key: "invoice", ...once });
  const handle = await theirs.acquire();
  expect(await locks.tryAcquire("invoice")).toBeNull();
  expect(await theirs.release(handle)).toBe(true);
  const lock = await locks.acquire("invoice");
  expect((await rejection(theirs.acquire())).name).toBe("LockAcquisitionError");
  expect(await lock.release()).toBe(true);
  const again = await locks.tryAcquire("invoice", { waitTimeout: 1_000 });
  await again!.release();
  expect(await theirs.release(await theirs.acquire())).toBe(true);
});

test("ShedLock's Redis provider, by the commands it sends, and once() under its prefix exclude one another", async (t) => {
  const machines = await openMachines(t, 1);
  const [redis] = machines.clients();
  const locks = new LockManager(machines.clients()[0], { prefix: "job-lock:default:" });
  t.onTestFinished(() => locks.close());
  const key = "job-lock:default:nightly";
  expect(await redis!.set(key, "ADDED:2026-01-01T03:00:00Z@machine", "PX", 60_000, "NX")).toBe("OK");
  expect(await locks.once("nightly", { atMost: 60_000 }, () => "ran")).toMatchObject({ ran: false, state: "running" });
  // What it does when a job took longer than lockAtLeastFor.
  await redis!.del(key);
  expect(await locks.once("nightly", { atMost: 60_000, atLeast: 60_000 }, () => "ran")).toMatchObject({ ran: true });
  expect(await redis!.set(key, "ADDED:2026-01-01T03:00:01Z@machine", "PX", 60_000, "NX")).toBeNull();
});

test("a lock of Redisson under the same key is refused, and left as it is", async (t) => {
  const machines = await openMachines(t, 1);
  const [redis] = machines.clients();
  await redis!.hset("account", "8743c9c0-0795-4907-87fd-6c719a6b4586:1", "1");
  const error = await rejection(ours(t, machines).acquire("account", { waitTimeout: 1_000 }));
  expect(error).toMatchObject({ code: "wrong-type" });
  expect(await redis!.type("account")).toBe("hash");
});
