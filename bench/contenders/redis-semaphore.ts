import { Redis } from "ioredis";
import { Mutex } from "redis-semaphore";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const redis = new Redis(url);
  return {
    async acquire(name, ttl) {
      const mutex = new Mutex(redis, name, { lockTimeout: ttl, acquireTimeout: 600_000 });
      await mutex.acquire();
      return () => mutex.release();
    },
  };
}
