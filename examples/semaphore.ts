/** Four permits for as many jobs at a time, from any process; a large job waits its turn and is not overtaken. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { LockManager, QueueFullError } from "holdfast";

const redis = new Redis(process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379");
const locks = new LockManager(redis);
// All who use it give it the same limit.
const gpu = locks.semaphore("gpu", 4);

let busy = 0;
let most = 0;
async function job(permits: number): Promise<void> {
  await gpu.request({ permits }, async (lock) => {
    busy += permits;
    most = Math.max(most, busy);
    await sleep(20, undefined, { signal: lock.signal });
    busy -= permits;
  });
}
await Promise.all([1, 1, 3, 1, 4, 2].map(job));
console.log(`at most ${most} of ${gpu.limit} permits were in use`);

// Rather refuse work than let it pile up.
const all = await gpu.acquire({ permits: 4 });
const waiting = gpu.acquire({ maxQueue: 1, onWait: ({ position }) => console.log(`waits as number ${position}`) });
while ((await locks.query({ name: "gpu" })).pending.length === 0) await sleep(5);
await gpu.acquire({ maxQueue: 1 }).catch((error: unknown) => {
  console.log(error instanceof QueueFullError ? "the line is full" : error);
});
await all.release();
await (await waiting).release();

// Write alone, then let readers in while the result is checked; no other writer comes in between.
await using report = await locks.acquire("report");
await report.downgrade();
const reader = await locks.tryAcquire("report", { mode: "shared" });
console.log(`readers are let in: ${reader !== null}`);
await reader?.release();

await locks.close();
redis.disconnect();
