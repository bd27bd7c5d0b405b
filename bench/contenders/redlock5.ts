import { Redis } from "ioredis";
import Redlock from "redlock5";
import type { Session } from "./index.ts";

const settings = { driftFactor: 0.01, retryDelay: 200, retryJitter: 200 };

export async function open(url: string): Promise<Session> {
  const redlock = new Redlock([new Redis(url)], { ...settings, retryCount: -1 });
  return {
    async acquire(name, ttl) {
      const lock = await redlock.acquire([name], ttl);
      return () => lock.release();
    },
  };
}

/** It keeps the votes of a minority for as long as it tries, so trying for ever would block everybody for a ttl. */
export async function openNodes(urls: readonly string[]): Promise<Session> {
  const clients = urls.map((url) => new Redis(url));
  const redlock = new Redlock(clients, { ...settings, retryCount: 10 });
  return {
    async acquire(name, ttl) {
      for (;;) {
        const lock = await redlock.acquire([name], ttl).catch(() => undefined);
        if (lock) return () => lock.release();
      }
    },
  };
}
