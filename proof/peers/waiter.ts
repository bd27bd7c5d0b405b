/** A process that waits for a lock and then keeps it: waiter.ts CONTENDER URL NAME TTL */
import { contenders } from "./contenders.ts";

const [id, url, name, ttl] = process.argv.slice(2) as [string, string, string, string];
const session = await contenders.find((each) => each.id === id)!.open([url]);
// Connected, so that what it asks is asked at once.
await (await session.acquire("warm", { ttl: 1_000 })).release();
const held = session.acquire(name, { ttl: Number(ttl) });
console.log("waits");
await held;
console.log("held");
setInterval(() => {}, 1_000);
