import { Redis } from "ioredis";
import Redlock from "redlock4";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const settings = { driftFactor: 0.01, retryCount: -1, retryDelay: 200, retryJitter: 200 };
  const redlock = new Redlock([new Redis(url)], settings);
  return {
    async acquire(name, ttl) {
      const lock = await redlock.lock(name, ttl);
      return () => lock.unlock();
    },
  };
}
