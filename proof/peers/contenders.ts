/** The libraries, with their defaults, on ioredis. */
import { createRequire } from "node:module";
import { Redis } from "ioredis";
import type { Contender, Held, Session, Terms } from "./contender.ts";

const require = createRequire(import.meta.url);
const MINUTE = 60_000;

function clientsOf(urls: readonly string[]): Redis[] {
  return urls.map((url) => {
    const redis = new Redis(url);
    redis.on("error", () => {});
    return redis;
  });
}

async function holdfast(urls: readonly string[]): Promise<Session> {
  const { LockManager } = await import("../../src/index.ts");
  const clients = clientsOf(urls);
  const locks = new LockManager(clients.length > 1 ? clients : clients[0]);
  return {
    async acquire(name, { ttl, patience = MINUTE, signal }) {
      const lock = await locks.acquire(name, { ttl, renew: false, waitTimeout: patience, signal });
      return { isHeld: () => lock.held, fence: lock.fence, release: () => lock.release() };
    },
    hold: (name, ttl, work) => locks.request(name, { ttl }, (lock) => work(lock.signal, () => lock.held)),
    async permit(name, limit, ttl) {
      const permit = await locks.semaphore(name, limit).tryAcquire({ ttl });
      return permit ? { isHeld: () => permit.held, release: () => permit.release() } : undefined;
    },
  };
}

/** redlock 5 and what descends from it. */
interface ModernLock {
  readonly expiration: number;
  release(): Promise<unknown>;
}
interface Modern {
  acquire(resources: string[], duration: number, settings?: object): Promise<ModernLock>;
  using<T>(resources: string[], duration: number, routine: (signal: AbortSignal) => Promise<T>): Promise<T>;
  on(event: "error", heard: () => void): unknown;
}
type ModernClass = new (clients: Redis[]) => Modern;

function modern(load: () => ModernClass): (urls: readonly string[]) => Promise<Session> {
  return async (urls) => {
    const redlock = new (load())(clientsOf(urls));
    // As its README says: else a server's vote against ends the process.
    redlock.on("error", () => {});
    return {
      async acquire(name, { ttl, patience = MINUTE }) {
        const lock = await redlock.acquire([name], ttl, { retryCount: Math.ceil(patience / 200) });
        return { isHeld: () => lock.expiration > Date.now(), release: () => lock.release() };
      },
      hold: (name, ttl, work) => redlock.using([name], ttl, (signal) => work(signal, () => !signal.aborted)),
    };
  };
}

interface OldLock {
  readonly expiration: number;
  unlock(): Promise<unknown>;
}
type OldClass = new (
  clients: Redis[],
  settings: object,
) => {
  lock(resource: string, ttl: number): PromiseLike<OldLock>;
  on(event: "clientError", heard: () => void): unknown;
};

async function redlock4(urls: readonly string[]): Promise<Session> {
  const Redlock = require("redlock4") as OldClass;
  const clients = clientsOf(urls);
  return {
    async acquire(name, { ttl, patience = MINUTE }) {
      const redlock = new Redlock(clients, { retryCount: Math.ceil(patience / 200) });
      redlock.on("clientError", () => {});
      const lock = await redlock.lock(name, ttl);
      return { isHeld: () => lock.expiration > Date.now(), release: () => lock.unlock() };
    },
  };
}

async function redisSemaphore(urls: readonly string[]): Promise<Session> {
  const { Mutex, RedlockMutex, Semaphore } = await import("redis-semaphore");
  const clients = clientsOf(urls) as never[];
  const mutexOf = (name: string, options: object): InstanceType<typeof Mutex> =>
    clients.length > 1
      ? (new RedlockMutex(clients, name, options) as never)
      : new Mutex(clients[0] as never, name, options);
  return {
    async acquire(name, { ttl, patience = MINUTE, signal }) {
      const mutex = mutexOf(name, { lockTimeout: ttl, acquireTimeout: patience, refreshInterval: 0 });
      await mutex.acquire(signal);
      return { isHeld: () => mutex.isAcquired, release: () => mutex.release() };
    },
    async hold(name, ttl, work) {
      const told = new AbortController();
      const mutex = mutexOf(name, {
        lockTimeout: ttl,
        acquireTimeout: MINUTE,
        onLockLost: (error: Error) => told.abort(error),
      });
      await mutex.acquire();
      try {
        return await work(told.signal, () => mutex.isAcquired && !told.signal.aborted);
      } finally {
        await mutex.release();
      }
    },
    async permit(name, limit, ttl) {
      const semaphore = new Semaphore(clients[0] as never, name, limit, { lockTimeout: ttl, acquireTimeout: MINUTE });
      if (!(await semaphore.tryAcquire())) return undefined;
      return { isHeld: () => semaphore.isAcquired, release: () => semaphore.release() };
    },
  };
}

async function redlockUniversal(urls: readonly string[]): Promise<Session> {
  const { createLock, createRedlock, IoredisAdapter } = await import("redlock-universal");
  const adapters = clientsOf(urls).map((client) => new IoredisAdapter(client as never));
  const lockOf = (name: string, { ttl, patience = MINUTE }: Terms) =>
    adapters.length > 1
      ? createRedlock({ adapters, key: name, ttl, retryAttempts: Math.ceil(patience / 200) })
      : createLock({ adapter: adapters[0]!, key: name, ttl, retryAttempts: Math.ceil(patience / 100) });
  return {
    async acquire(name, terms): Promise<Held> {
      const lock = lockOf(name, terms);
      const handle = await lock.acquire();
      return { isHeld: () => Date.now() < handle.acquiredAt + handle.ttl, release: () => lock.release(handle) };
    },
    hold: (name, ttl, work) =>
      lockOf(name, { ttl }).using((signal) => work(signal as AbortSignal, () => !signal.aborted)),
  };
}

const raw = (name: string): string => name;

export const contenders: readonly Contender[] = [
  {
    id: "holdfast",
    title: "holdfast",
    package: undefined,
    settings: "defaults",
    key: (name) => `lock:${name}`,
    canAbort: true,
    open: holdfast,
  },
  {
    id: "redlock4",
    title: "redlock 4",
    package: "redlock4",
    settings: "defaults; retryCount for how long it waits",
    key: raw,
    canAbort: false,
    open: redlock4,
  },
  {
    id: "redlock5",
    title: "redlock 5 beta",
    package: "redlock5",
    settings: "defaults; retryCount for how long it waits; listens to error",
    key: raw,
    canAbort: false,
    open: modern(() => (require("redlock5") as { default: ModernClass }).default),
  },
  {
    id: "sesamecare",
    title: "sesamecare redlock",
    package: "@sesamecare-oss/redlock",
    settings: "defaults; retryCount for how long it waits; listens to error",
    key: raw,
    canAbort: false,
    open: modern(() => (require("@sesamecare-oss/redlock") as { Redlock: ModernClass }).Redlock),
  },
  {
    id: "redis-semaphore",
    title: "redis-semaphore",
    package: "redis-semaphore",
    settings: "defaults; acquireTimeout for how long it waits; onLockLost",
    key: (name) => `mutex:${name}`,
    canAbort: true,
    open: redisSemaphore,
  },
  {
    id: "redlock-universal",
    title: "redlock-universal",
    package: "redlock-universal",
    settings: "defaults; retryAttempts for how long it waits",
    key: raw,
    canAbort: false,
    open: redlockUniversal,
  },
];
