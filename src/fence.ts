/**
 * Guards for what a lock protects: they refuse the late write of a holder that was paused past its lease. A guard
 * remembers the largest fence that has written, and its token. It refuses a smaller fence, and accepts an equal one
 * only from the same holder. (Kleppmann's fencing tokens:
 * https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html)
 */
export type { Fenced } from "./fence/checks.ts";
export { RedisFence, StaleFenceError } from "./fence/redis.ts";
export type { RedisFenceOptions } from "./fence/redis.ts";
export { FENCE_TABLE, notStale, passFence, sql, stamp } from "./fence/sql.ts";
export type { FenceColumns, Sql } from "./fence/sql.ts";
