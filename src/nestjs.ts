/** `holdfast/nestjs`: a module that provides LockManagers, and decorators for methods. */
export { currentLock } from "./nestjs/current-lock.ts";
export { RunOnce, WhileLeader, WithLock } from "./nestjs/decorators.ts";
export type { ManagerName, RunOnceOptions, WhileLeaderOptions, WithLockOptions } from "./nestjs/decorators.ts";
export { HoldfastModule } from "./nestjs/module.ts";
export type { HoldfastModuleExtras, HoldfastModuleOptions, HoldfastTestOptions } from "./nestjs/module.ts";
export { getLocksToken, InjectLocks } from "./nestjs/tokens.ts";
