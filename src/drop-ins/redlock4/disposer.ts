import type { Lock } from "./lock.ts";

/** A lock that is taken when it is used, and released behind that. */
export interface Disposer {
  readonly acquire: () => Promise<Lock>;
  readonly failed: (error: Error) => void;
}

/**
 * Hold the disposer's lock while the routine runs, in place of bluebird's `Promise.using`. A release that fails goes to the
 * handler that `disposer()` was given.
 *
 * @throws (as rejections) what the routine does; LockError if the lock cannot be had
 */
export async function using<T>(disposer: Disposer, routine: (lock: Lock) => T): Promise<Awaited<T>> {
  const lock = await disposer.acquire();
  try {
    return await routine(lock);
  } finally {
    await lock.unlock().catch(disposer.failed);
  }
}
