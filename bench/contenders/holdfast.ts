import { Redis } from "ioredis";
import { createClient } from "redis";
import { holdfastEntry } from "../lib/folders.ts";
import type { Session } from "./index.ts";

const { LockManager } = (await import(holdfastEntry)) as typeof import("../../src/index.ts");

export async function onIoredis(url: string): Promise<Session> {
  return sessionOf(new Redis(url));
}

export async function onNodeRedis(url: string): Promise<Session> {
  return sessionOf(await createClient({ url }).connect());
}

export async function onNodes(urls: readonly string[]): Promise<Session> {
  return sessionOf(urls.map((url) => new Redis(url)));
}

async function sessionOf(client: ConstructorParameters<typeof LockManager>[0]): Promise<Session> {
  const locks = new LockManager(client);
  return {
    async acquire(name, ttl) {
      const lock = await locks.acquire(name, { ttl });
      return () => lock.release();
    },
    extras: {
      async acquirePermit(name, limit, ttl) {
        const permit = await locks.semaphore(name, limit).acquire({ ttl });
        return () => permit.release();
      },
      elect: (name, ttl) => locks.elect(name, { ttl }),
      async remaining(name) {
        const [holder] = (await locks.query({ name })).held;
        return holder?.remaining ?? NaN;
      },
    },
  };
}
