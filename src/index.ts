export { LockManager } from "./lock-manager.ts";
export type { LockInfo, LockManagerSnapshot, TryOptions } from "./lock-manager.ts";
export { Lock } from "./lock.ts";
export type { LockOptions, ManagerOptions } from "./options.ts";
export type { LockMode, Selection } from "./scheme.ts";
export type { RedisClient } from "./drivers/index.ts";
export { LockError, LockLostError, LockTimeoutError, QuorumError, SchemeError } from "./errors.ts";
export type { LockErrorCode, LossReason, NodeVote, SchemeErrorCode } from "./errors.ts";
