/** `holdfast/node-cron`: of all machines that have the same task, one runs it each time it is due. */
import type { LockManager } from "./lock-manager.ts";
import { checkCoordinator } from "./options/node-cron.ts";
import type { CoordinatorOptions } from "./options/node-cron.ts";

export type { CoordinatorOptions } from "./options/node-cron.ts";

/** What `setRunCoordinator` and the option `runCoordinator` of node-cron 4.6 and newer take. */
export interface RunCoordinator {
  /** Whether this machine is to run the task at that time, which the key names. */
  readonly shouldRun: (key: string, ttlMs: number) => Promise<boolean>;
  readonly onComplete: (key: string) => void;
}

/**
 * The machine that gets the lock of a task and its time runs it. The lock is renewed while it runs, and kept for at
 * least `ttlMs` from its start (node-cron's `distributedLease`), so that machines whose clocks are behind do not run it
 * again.
 *
 *     setRunCoordinator(runCoordinator(locks));
 *
 * @throws TypeError or RangeError
 */
export function runCoordinator(locks: LockManager, options?: CoordinatorOptions): RunCoordinator {
  const { prefix, atMost } = checkCoordinator(locks, options);
  const running = new Map<string, () => void>();
  return {
    shouldRun: (key, ttlMs) =>
      new Promise((resolve, reject) => {
        const run = (): Promise<void> => {
          resolve(true);
          return new Promise((done) => running.set(key, done));
        };
        locks
          .once(prefix + key, { atMost: Math.max(atMost, ttlMs), atLeast: ttlMs }, run)
          // node-cron cannot be told that a lock was lost during a run; the events report it.
          .then(({ ran }) => resolve(ran), reject)
          .finally(() => running.delete(key));
      }),
    onComplete: (key) => running.get(key)?.(),
  };
}
