// A slice of what test/conformance.test.ts asks of every client, without a test runner. Prints "ok", or what is wrong.
import assert from "node:assert/strict";
import { LockLostError, LockManager, LockTimeoutError } from "holdfast";

const [on] = process.argv.slice(2);
const url = process.env.REDIS_URL;
const ends = [];
const memory = on === "memory" ? new (await import("holdfast/testing")).TestLocks("real time") : undefined;

async function manager() {
  if (on === "memory") return memory.manager();
  if (on === "url") return new LockManager(url);
  if (on === "upstash") {
    const { Redis } = await import("@upstash/redis");
    return new LockManager(
      new Redis({ url: process.env.REST_URL, token: process.env.REST_TOKEN, enableTelemetry: false }),
    );
  }
  if (on === "redis") {
    const { createClient } = await import("redis");
    const client = createClient({ url });
    client.on("error", () => {});
    await client.connect();
    ends.push(() => client.destroy());
    return new LockManager(client);
  }
  if (on === "bun") {
    const client = new Bun.RedisClient(url);
    ends.push(() => client.close());
    return new LockManager(client);
  }
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  ends.push(() => client.disconnect());
  return new LockManager(client);
}

// Without sockets nothing else keeps the process alive while it waits for news of a lock.
const alive = setInterval(() => {}, 1_000);

const [a, b] = [await manager(), await manager()];
const name = `${on}-${Math.random()}`;

const first = await a.acquire(name);
assert.equal(await b.tryAcquire(name), null);
await assert.rejects(b.acquire(name, { waitTimeout: 60 }), LockTimeoutError);
const order = [];
const waits = [1, 2, 3].map((i) => b.request(name, (lock) => void order.push(i, lock.fence > first.fence)));
assert.equal(await first.release(), true);
await Promise.all(waits);
assert.deepEqual(order, [1, true, 2, true, 3, true]);

let count = 0;
const add = async () => {
  const seen = count;
  await new Promise((resolve) => setTimeout(resolve, 0));
  count = seen + 1;
};
await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).request(name, add)));
assert.equal(count, 20);

const lease = await a.acquire(name, { ttl: 300 });
await new Promise((resolve) => setTimeout(resolve, 700));
assert.equal(lease.held, true, "it is renewed");
const lost = new Promise((resolve) => lease.signal.addEventListener("abort", () => resolve(lease.signal.reason)));
await b.forceRelease(name);
assert.ok((await lost) instanceof LockLostError);

const gpu = a.semaphore(`${name}-s`, 2);
const permits = [await gpu.acquire(), await b.semaphore(`${name}-s`, 2).acquire()];
assert.equal(await gpu.tryAcquire(), null);
await Promise.all(permits.map((permit) => permit.release()));

const nested = await a.request(`${name}-r`, { reentrant: true }, () =>
  a.request(`${name}-r`, { reentrant: true }, async () => (await new Promise((r) => setTimeout(r, 1)), "nested")),
);
assert.equal(nested, "nested");
const { ran } = await a.once(`${name}-o`, { atMost: 1_000 }, () => 1);
assert.equal(ran, true);

await Promise.all([a.close(), b.close()]);
for (const end of ends) end();
clearInterval(alive);
console.log("ok");
