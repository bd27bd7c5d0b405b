/** Cron fires on every machine; one of them runs the job, the others learn which. Here three in one process. */
import { Redis } from "ioredis";
import { LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const machines = ["one", "two", "three"].map((label) => new LockManager(redis, { label: `machine ${label}` }));

async function nightly(locks: LockManager): Promise<void> {
  const result = await locks.once("nightly-report", { atMost: 3_600_000, atLeast: 2_000 }, async (lock) => {
    // lock.fence for what the job writes, lock.signal to stop when the hour is over.
    return `a report, fence ${lock.fence}`;
  });
  if (result.ran) console.log(result.value);
  else console.log(`${result.state} by ${result.by}`);
}

await nightly(machines[0]!);
await machines[0]!.close(); // the machine goes home; the lock stays until two seconds after the job began
await nightly(machines[1]!);
await nightly(machines[2]!); // its clock is late

await Promise.all(machines.map((locks) => locks.close()));
redis.disconnect();
