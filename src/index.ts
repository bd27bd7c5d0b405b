export { LockManager } from "./lock-manager.ts";
export type { LockInfo, LockManagerSnapshot } from "./snapshot.ts";
export { Lock } from "./lock.ts";
export { Term } from "./primitives/election.ts";
export type { Election, Leader } from "./primitives/election.ts";
export type { DetachedLock } from "./leases/detached-lock.ts";
export type { Durability } from "./durability.ts";
export type { JobState, OnceResult } from "./primitives/once.ts";
export type { CloseOptions } from "./options/close.ts";
export type { AttachOptions } from "./options/attach.ts";
export type { DurabilityOptions } from "./options/durability.ts";
export type { ElectOptions } from "./options/election.ts";
export type { OnceOptions } from "./options/once.ts";
export type {
  GrantEvent,
  HoldEnd,
  LockEvent,
  LockEvents,
  Origin,
  RequestEvent,
  RequestOutcome,
  RequestTrace,
  WaitEnd,
} from "./events.ts";
export type { LockOptions, TryOptions } from "./options/request.ts";
export type { ManagerOptions } from "./options/manager.ts";
export type { ObserveOptions } from "./options/election.ts";
export type { Codec, ShareOptions } from "./options/share.ts";
export type { SemaphoreOptions } from "./options/semaphore.ts";
export { Semaphore } from "./primitives/semaphore.ts";
export type { TrySemaphoreOptions } from "./primitives/semaphore.ts";
export { SeveralLocks } from "./primitives/several.ts";
export type { LockMode, Selection, WaitedFor } from "./schemes/scheme.ts";
export type { RedisClient } from "./drivers/index.ts";
export {
  isLockLost,
  DurabilityError,
  LockError,
  LockLostError,
  LockTimeoutError,
  QueueFullError,
  QuorumError,
  SchemeError,
} from "./errors.ts";
export type { LockErrorCode, LossReason, NodeVote, SchemeErrorCode } from "./errors.ts";
export type { Wait } from "./options/request.ts";
