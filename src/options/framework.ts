import type { RedisClient } from "../drivers/index.ts";
import { LockManager } from "../lock-manager.ts";
import { TestLocks } from "../testing.ts";
import { dictionary } from "./checks.ts";
import type { ManagerOptions } from "./manager.ts";

/** What a framework's module or plugin makes a LockManager from: its options, and where locks are kept. */
export interface FrameworkOptions extends ManagerOptions {
  /**
   * A URL, for a connection that is opened and closed with the application; a client, which you close yourself; or
   * several of either, each of an independent server, for Redlock. `TestLocks` keep locks within this process.
   */
  redis: RedisClient | string | readonly RedisClient[] | readonly string[] | TestLocks;
}

/**
 * @param needs what names the option in messages, such as "HoldfastModule.forRoot()"
 * @throws what `new LockManager()` throws, and TypeError if `redis` is missing: locks within one process must be chosen,
 *   and not follow from a variable that is not set
 */
export function openLocks(options: unknown, needs: string): LockManager {
  const { redis, ...rest } = dictionary(options, "options");
  if (redis === undefined || redis === null) {
    throw new TypeError(
      `${needs} needs redis: a URL or a client; got ${String(redis)}. ` +
        "For locks within this process, as in tests, pass redis: new TestLocks().",
    );
  }
  if (redis instanceof TestLocks) return redis.manager(rest);
  return new LockManager(redis as RedisClient | string, rest);
}
