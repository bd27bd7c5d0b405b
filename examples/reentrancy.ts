/** A function that takes the lock it needs may be called with or without it being held already. */
import { Redis } from "ioredis";
import { LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const locks = new LockManager(redis);

function withdraw(amount: number): Promise<number> {
  return locks.request("account", { reentrant: true }, async (lock) => {
    console.log(`moved ${amount} under the fence ${lock.fence}, which is ${outermost || lock.fence}`);
    return amount;
  });
}

let outermost = 0;
await locks.request("account", { reentrant: true }, async (lock) => {
  outermost = lock.fence;
  await withdraw(30); // does not wait for itself
});

await locks.close();
redis.disconnect();
