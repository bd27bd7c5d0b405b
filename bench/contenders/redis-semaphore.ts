import { Redis } from "ioredis";
import { Mutex, Semaphore } from "redis-semaphore";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const redis = new Redis(url);
  const acquireTimeout = 600_000;
  return {
    async acquire(name, ttl) {
      const mutex = new Mutex(redis, name, { lockTimeout: ttl, acquireTimeout });
      await mutex.acquire();
      return () => mutex.release();
    },
    extras: {
      async acquirePermit(name, limit, ttl) {
        const semaphore = new Semaphore(redis, name, limit, { lockTimeout: ttl, acquireTimeout });
        await semaphore.acquire();
        return () => semaphore.release();
      },
    },
  };
}
