/** One worker process. Started by the demo with its number, the round's way, the server's URL and the keys' prefix. */
import { LockManager } from "holdfast";
import { Redis } from "ioredis";
import type { Order, Way } from "./protocol.ts";
import { RedisRecord } from "./record.ts";
import { Work } from "./work.ts";

const [id = "", way = "", url = "", prefix = ""] = process.argv.slice(2);
process.on("disconnect", () => process.exit());
if (!process.connected) process.exit(); // the demo ended while this process started

const redis = new Redis(url);
redis.on("error", () => {}); // what fails because of it says so
await redis.ping();
const locks = new LockManager(redis, { prefix: `${prefix}holdfast:` });
const work = new Work(Number(id), way as Way, {
  shared: new RedisRecord(redis, prefix),
  locks,
  renew: true,
  report: (report) => void process.send?.(report),
});
process.on("message", (order: Order) => work.obey(order));
await work.run();
await locks.close();
await redis.quit();
process.disconnect();
