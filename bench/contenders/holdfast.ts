import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import { holdfastEntry } from "../lib/folders.ts";
import type { Place, Session } from "./index.ts";

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

type Client = ConstructorParameters<typeof LockManager>[0];

async function open(place: Place): Promise<Pick<Session, "acquire">> {
  switch (place.kind) {
    case "one":
      return sessionOf(new Redis(place.url));
    case "durable":
      return sessionOf(new Redis(place.url), { durability: { replicas: 1, timeout: 1_000 } });
    case "sentinel":
      return sessionOf(new Redis({ sentinels: [...place.addresses], name: place.name }));
    case "cluster":
      return sessionOf(new Cluster([...place.addresses]));
    case "redlock":
      return onNodes(place.urls);
    case "wait":
      return waiting(new Redis(place.url));
  }
}

/** A write, and WAIT for one replica, in one write to the socket; nothing to release. */
async function waiting(redis: Redis): Promise<Pick<Session, "acquire">> {
  return {
    async acquire(name, ttl) {
      await redis.pipeline().set(name, "x", "PX", ttl).wait(1, 1_000).exec();
      return () => Promise.resolve();
    },
  };
}

async function sessionOf(client: Client, options?: ConstructorParameters<typeof LockManager>[1]): Promise<Session> {
  const locks = new LockManager(client, options);
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
      open,
      share: (name, ttl, compute) => locks.share(name, { ttl }, compute),
      elect: (name, ttl) => locks.elect(name, { ttl }),
      async remaining(name) {
        const [holder] = (await locks.query({ name })).held;
        return holder?.remaining ?? NaN;
      },
    },
  };
}
