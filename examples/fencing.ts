import { Redis } from "ioredis";
import { PGlite } from "@electric-sql/pglite";
import { LockManager } from "holdfast";
import { FENCE_TABLE, notStale, passFence, RedisFence, sql, stamp, StaleFenceError } from "holdfast/fence";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
const locks = new LockManager(redis);
const paused = await locks.acquire("invoice:42", { ttl: 500 });

// A garbage collection, a laptop's lid, a live migration: for a second this process does nothing at all.
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);

const next = await locks.acquire("invoice:42");
console.log("the later holder has the larger fence:", next.fence > paused.fence);

const invoices = new RedisFence(redis);

await invoices.write(next, "HSET", "invoice:42", "total", 100);
try {
  await invoices.write(paused, "HSET", "invoice:42", "total", 90); // too late
} catch (error) {
  if (!(error instanceof StaleFenceError)) throw error;
  console.log("Redis refused the late write:", error.latest === next.fence);
}

const db = await PGlite.create();
await db.exec("CREATE TABLE invoice (id int PRIMARY KEY, total int, fence bigint, fence_token text)");
await db.exec("INSERT INTO invoice VALUES (42, 0, NULL, NULL)");

for (const lock of [next, paused]) {
  const update = sql`UPDATE invoice SET total = ${100}, ${stamp(lock)} WHERE id = ${42} AND ${notStale(lock)}`;
  const { affectedRows } = await db.query(update.text, [...update.values]);
  console.log(affectedRows === 1 ? "Postgres wrote" : "Postgres refused the late UPDATE");
}

await db.exec(FENCE_TABLE); // once, in a migration

for (const lock of [next, paused]) {
  await db.transaction(async (tx) => {
    const pass = passFence(lock);
    const { rows } = await tx.query(pass.text, [...pass.values]);
    if (rows.length === 0) {
      console.log("Postgres refused the late transaction");
      return tx.rollback();
    }
    await tx.query("UPDATE invoice SET total = total + 1"); // whatever the lock protects
    console.log("Postgres committed");
  });
}

await next.release();
invoices.close();
await locks.close();
await db.close();
redis.disconnect();
