import { createClient } from "redis";
import { lock } from "simple-redis-mutex";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const redis = await createClient({ url }).connect();
  // Its first call subscribes, and calls beside it do not wait for that: they would miss their wake-up.
  await (
    await lock(redis, "warm-up")
  )();
  return {
    async acquire(name, ttl) {
      return lock(redis, name, { timeout: ttl });
    },
  };
}
