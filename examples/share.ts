/** One of all processes fetches a value, and the others get it. Here three processes in one. */
import { Redis } from "ioredis";
import { LockError, LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const machines = ["one", "two", "three"].map((label) => new LockManager(redis, { label: `machine ${label}` }));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A token that is good for an hour, and that only one process should refresh. */
function accessToken(locks: LockManager): Promise<string> {
  return locks.share("access-token", { ttl: 3_600_000 }, async (lock) => {
    console.log("refreshing");
    await pause(100); // await fetch("https://…", { signal: lock.signal })
    return `token ${lock.fence}`;
  });
}

// Three hundred ask at once, and one asks later.
const tokens = await Promise.all(Array.from({ length: 300 }, (_, i) => accessToken(machines[i % 3]!)));
tokens.push(await accessToken(machines[1]!));
console.log(`${tokens.length} callers, ${new Set(tokens).size} token`);

/** With `ttl: 0` the result is for those only who asked before it was there. */
function report(locks: LockManager): Promise<number> {
  return locks.share("report", { ttl: 0 }, async () => {
    await pause(100);
    throw new Error("the database is down");
  });
}

const reports = machines.map((locks) => report(locks).catch((error: unknown) => error));
const told = (await Promise.all(reports)).filter((error) => error instanceof LockError);
console.log(`one failed, and ${told.length} were told: ${(told[0] as LockError).code}`);

await Promise.all(machines.map((locks) => locks.close()));
redis.disconnect();
