/** Replaces redis-semaphore: docs/moving/from-redis-semaphore.md says what differs. */
export { LostLockError, TimeoutError } from "./drop-ins/redis-semaphore/errors.ts";
export type { Lock } from "./drop-ins/redis-semaphore/lock.ts";
export {
  MultiSemaphore,
  Mutex,
  RedlockMultiSemaphore,
  RedlockMutex,
  RedlockSemaphore,
  Semaphore,
} from "./drop-ins/redis-semaphore/locks.ts";
export { defaultTimeoutOptions } from "./drop-ins/redis-semaphore/options.ts";
export type { LockOptions, TimeoutOptions } from "./drop-ins/redis-semaphore/options.ts";
