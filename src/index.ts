export { LockManager } from "./lock-manager.ts";
export type { LockInfo, LockManagerSnapshot, TryOptions } from "./lock-manager.ts";
export { Lock } from "./lock.ts";
export { Term } from "./election.ts";
export type { Leader } from "./election.ts";
export type { DetachedLock } from "./lease.ts";
export type { Durability } from "./durability.ts";
export type { JobState, OnceResult } from "./once.ts";
export type {
  AttachOptions,
  DurabilityOptions,
  ElectOptions,
  LockOptions,
  ManagerOptions,
  ObserveOptions,
  OnceOptions,
  SemaphoreOptions,
} from "./options.ts";
export { Semaphore } from "./semaphore.ts";
export type { TrySemaphoreOptions } from "./semaphore.ts";
export { SeveralLocks } from "./several.ts";
export type { LockMode, Selection, WaitedFor } from "./scheme.ts";
export type { RedisClient } from "./drivers/index.ts";
export {
  DurabilityError,
  LockError,
  LockLostError,
  LockTimeoutError,
  QueueFullError,
  QuorumError,
  SchemeError,
} from "./errors.ts";
export type { LockErrorCode, LossReason, NodeVote, SchemeErrorCode } from "./errors.ts";
export type { Wait } from "./waiting.ts";
