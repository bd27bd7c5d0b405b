/** redis-semaphore's classes. */
import type { RedisClient } from "../../drivers/index.ts";
import { Lock } from "./lock.ts";
import { checkCount, checkKey } from "./options.ts";
import type { LockOptions } from "./options.ts";
import type { Kind } from "./seat.ts";

/** One holder at a time, on one server. */
export class Mutex extends Lock {
  /** @throws Error, TypeError or RangeError, as all of these, for arguments that are missing, of a wrong kind or out of bounds */
  constructor(client: RedisClient, key: string, options?: LockOptions) {
    super(one(client), { title: "mutex", name: `mutex:${checkKey(key)}` }, options);
  }
}

/** `limit` holders at a time, on one server. */
export class Semaphore extends Lock {
  constructor(client: RedisClient, key: string, limit: number, options?: LockOptions) {
    super(one(client), semaphore("semaphore", key, limit), options);
  }
}

/** Holders of `permits` of `limit`, on one server. */
export class MultiSemaphore extends Lock {
  constructor(client: RedisClient, key: string, limit: number, permits: number, options?: LockOptions) {
    super(one(client), semaphore("multi-semaphore", key, limit, checkCount(permits, "permits")), options);
  }
}

/** One holder at a time, by a majority of independent servers. */
export class RedlockMutex extends Lock {
  constructor(clients: readonly RedisClient[], key: string, options?: LockOptions) {
    super(several(clients), { title: "redlock-mutex", name: `mutex:${checkKey(key)}` }, options);
  }
}

/** `limit` holders at a time, by a majority of independent servers. */
export class RedlockSemaphore extends Lock {
  constructor(clients: readonly RedisClient[], key: string, limit: number, options?: LockOptions) {
    super(several(clients), semaphore("redlock-semaphore", key, limit), options);
  }
}

/** Holders of `permits` of `limit`, by a majority of independent servers. */
export class RedlockMultiSemaphore extends Lock {
  constructor(clients: readonly RedisClient[], key: string, limit: number, permits: number, options?: LockOptions) {
    super(several(clients), semaphore("redlock-multi-semaphore", key, limit, checkCount(permits, "permits")), options);
  }
}

function semaphore(title: string, key: string, limit: number, permits?: number): Kind {
  const kind = { title, name: `semaphore:${checkKey(key)}`, limit: checkCount(limit, "limit") };
  return permits === undefined ? kind : { ...kind, permits };
}

function one(client: RedisClient): RedisClient {
  if (!client) throw new Error('"client" is required');
  return client;
}

function several(clients: readonly RedisClient[]): readonly RedisClient[] {
  if (!Array.isArray(clients) || clients.length === 0) throw new Error('"clients" array is required');
  return clients;
}
