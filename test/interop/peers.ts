/** The true libraries, each as a lock that waits, and the prefix with which a LockManager shares its keys. */
import { Redlock as Sesame } from "@sesamecare-oss/redlock";
import type { Redis } from "ioredis";
import { Mutex } from "redis-semaphore";
import { Redlock4, Redlock5 } from "../drop-ins/published.ts";

/** Waits for the lock; what it resolves to releases it. */
export type Lock = (name: string) => Promise<() => Promise<unknown>>;

export interface Peer {
  readonly title: string;
  /** Of a LockManager that uses the same keys. */
  readonly prefix: string;
  /** Also over several servers. */
  readonly isQuorum: boolean;
  /** @throws if the package cannot be loaded here */
  open(clients: readonly Redis[]): Promise<Lock>;
}

const TTL = 10_000;
/** They ask again soon. Not for ever at a time: over several servers, some give votes back only when they give up. */
const patient = { retryCount: 10, retryDelay: 5, retryJitter: 5 };

interface Modern {
  acquire(resources: string[], duration: number): Promise<{ release(): Promise<unknown> }>;
}

/** Tries for as long as it takes. */
async function persistently<T>(attempt: () => PromiseLike<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!/quorum|attempts to lock/i.test(String(error))) throw error;
    }
  }
}

function modern(redlock: Modern): Lock {
  return async (name) => {
    const lock = await persistently(() => redlock.acquire([name], TTL));
    return () => lock.release();
  };
}

export const peers: readonly Peer[] = [
  {
    title: "redlock 4",
    prefix: "",
    isQuorum: true,
    async open(clients) {
      const redlock = new Redlock4([...clients], patient);
      return async (name) => {
        const lock = await persistently(() => redlock.lock(name, TTL));
        return () => lock.unlock();
      };
    },
  },
  {
    title: "redlock 5",
    prefix: "",
    isQuorum: true,
    open: async (clients) => modern(new Redlock5([...clients], patient)),
  },
  {
    title: "@sesamecare-oss/redlock",
    prefix: "",
    isQuorum: true,
    open: async (clients) => modern(new Sesame([...clients] as never, patient)),
  },
  {
    title: "redis-semaphore's Mutex",
    prefix: "mutex:",
    isQuorum: false,
    async open([client]) {
      return async (name) => {
        const mutex = new Mutex(client as never, name, { lockTimeout: TTL, acquireTimeout: 60_000 });
        await mutex.acquire();
        return () => mutex.release();
      };
    },
  },
  {
    title: "redlock-universal",
    prefix: "",
    isQuorum: false,
    async open([client]) {
      const { createLock, IoredisAdapter } = await import("redlock-universal");
      const adapter = new IoredisAdapter(client as never);
      return async (name) => {
        const lock = createLock({ adapter, key: name, ttl: TTL, retryAttempts: 5_000, retryDelay: 5 });
        const handle = await lock.acquire();
        return () => lock.release(handle);
      };
    },
  },
];
