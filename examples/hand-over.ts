/** A front end takes the lock, answers its caller, and leaves the rest of the work to a worker elsewhere. */
import { Redis } from "ioredis";
import { LockManager } from "holdfast";
import type { DetachedLock } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");

/** Runs in one process: what it returns goes into a job queue. */
async function frontEnd(): Promise<string> {
  const locks = new LockManager(redis);
  const lock = await locks.acquire("order:7");
  const job = JSON.stringify(await lock.detach());
  await locks.close(); // leaves the lock alone
  return job;
}

/** Runs in another process: it has the lease's whole time (30 s by default) to begin. */
async function worker(locks: LockManager, job: string): Promise<void> {
  const detached = JSON.parse(job) as DetachedLock;
  await using lock = await locks.attach(detached);
  console.log(`the worker holds ${lock.name}, with a larger fence: ${lock.fence > detached.fence}`);
}

const job = await frontEnd();
console.log("the front end has left");
const locks = new LockManager(redis);
await worker(locks, job);
await worker(locks, job).catch((error: Error) => console.log(error.message)); // a job that was delivered twice

await locks.close();
redis.disconnect();
