/** Of several candidates one leads; when it resigns, or dies, another does. Here two candidates in one process. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const machines = ["one", "two"].map((label) => new LockManager(redis, { label: `machine ${label}` }));
const shutdown = new AbortController();

const watching = (async () => {
  for await (const leader of machines[0]!.observe("scheduler", { signal: shutdown.signal, interval: 100 })) {
    console.log(leader ? `${leader.label} leads` : "nobody leads");
  }
})();

const campaigns = machines.map(async (locks, i) => {
  await sleep(200 * (i + 1));
  for await (const term of locks.elect("scheduler", { signal: shutdown.signal })) {
    // Whatever the leader changes should refuse a fence that is smaller than one it has seen.
    await schedule(term.fence, term.signal);
    if (i === 0) return; // leaving the loop resigns; the other machine leads within two round trips
  }
});

async function schedule(_fence: number, signal: AbortSignal): Promise<void> {
  // Ends early when the lease is lost, or when it is time to shut down.
  await sleep(500, undefined, { signal }).catch(() => {});
}

await sleep(1_500);
shutdown.abort();
await Promise.all([watching, ...campaigns]);
await Promise.all(machines.map((locks) => locks.close()));
redis.disconnect();
