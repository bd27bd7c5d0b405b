/** Replaces redlock 4: docs/moving/from-redlock.md says what differs. */
import { Redlock } from "./drop-ins/redlock4/redlock.ts";

export { using } from "./drop-ins/redlock4/disposer.ts";
export type { Disposer } from "./drop-ins/redlock4/disposer.ts";
export { Lock, LockError } from "./drop-ins/redlock4/lock.ts";
export type { LockOptions, Options } from "./drop-ins/redlock4/redlock.ts";
export { Redlock };
export default Redlock;
