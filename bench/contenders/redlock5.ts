import { Redis } from "ioredis";
import Redlock from "redlock5";
import type { Session } from "./index.ts";

export const open = (url: string): Promise<Session> => openNodes([url]);

export async function openNodes(urls: readonly string[]): Promise<Session> {
  const settings = { driftFactor: 0.01, retryCount: -1, retryDelay: 200, retryJitter: 200 };
  const clients = urls.map((url) => new Redis(url));
  const redlock = new Redlock(clients, settings);
  return {
    async acquire(name, ttl) {
      const lock = await redlock.acquire([name], ttl);
      return () => lock.release();
    },
  };
}
