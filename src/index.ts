export { LockManager } from "./lock-manager.ts";
export type { LockInfo, LockManagerSnapshot, TryOptions } from "./lock-manager.ts";
export { Lock } from "./lock.ts";
export { Term } from "./election.ts";
export type { Leader } from "./election.ts";
export type { DetachedLock } from "./lease.ts";
export type { JobState, OnceResult } from "./once.ts";
export type {
  AttachOptions,
  ElectOptions,
  LockOptions,
  ManagerOptions,
  ObserveOptions,
  OnceOptions,
} from "./options.ts";
export { SeveralLocks } from "./several.ts";
export type { LockMode, Selection } from "./scheme.ts";
export type { RedisClient } from "./drivers/index.ts";
export { LockError, LockLostError, LockTimeoutError, QuorumError, SchemeError } from "./errors.ts";
export type { LockErrorCode, LossReason, NodeVote, SchemeErrorCode } from "./errors.ts";
