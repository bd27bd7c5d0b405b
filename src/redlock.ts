/** Replaces redlock 5 and @sesamecare-oss/redlock: docs/moving/from-redlock.md says what differs. */
import { Redlock } from "./drop-ins/redlock/redlock.ts";

export { ExecutionError, ResourceLockedError } from "./drop-ins/redlock/errors.ts";
export type { ExecutionStats } from "./drop-ins/redlock/errors.ts";
export { Lock } from "./drop-ins/redlock/lock.ts";
export type { ExecutionResult } from "./drop-ins/redlock/lock.ts";
export type { ScriptHooks } from "./drop-ins/redlock/redlock.ts";
export type { Settings } from "./drop-ins/redlock/settings.ts";
export type { RedlockAbortSignal, RedlockUsingContext } from "./drop-ins/redlock/using.ts";
export { Redlock };
export default Redlock;
