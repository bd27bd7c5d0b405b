/** Two accounts at once, whatever the order in which they are named: nobody waits for anybody in a circle. */
import { Redis } from "ioredis";
import { LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const locks = new LockManager(redis);
const balance: Record<string, number> = { alice: 100, bob: 100 };

function transfer(from: string, to: string, amount: number): Promise<void> {
  return locks.request([from, to], { waitTimeout: 5_000 }, async (held) => {
    held.signal.throwIfAborted(); // lost when either is lost; held.fences.get(from) is what to send along
    balance[from]! -= amount;
    balance[to]! += amount;
    console.log(`from ${from} to ${to}: ${amount}`);
  });
}

await Promise.all([transfer("alice", "bob", 30), transfer("bob", "alice", 10)]);
console.log(`alice ${balance.alice}, bob ${balance.bob}`);

await locks.close();
redis.disconnect();
