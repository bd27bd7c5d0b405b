/**
 * Ensures that locks are kept in the database that the client was made for. node-redis sends commands that wait for a
 * connection together with its SELECT, before it knows whether the server has that database; if not, they run in
 * database 0.
 */
import type { Health } from "../health.ts";
import { isFromServer } from "../server-errors.ts";
import type { NodeRedisClient } from "./library.ts";

export class Database {
  readonly #redis: NodeRedisClient;
  readonly #isDefault: boolean;
  /** Why the last connection was abandoned, if the server did not have the database. */
  #refusal: Error | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(redis: NodeRedisClient, health: Health) {
    this.#redis = redis;
    this.#isDefault = !redis.options?.database;
    if (this.#isDefault) return;
    const wake = (): void => {
      for (const each of this.#waiting) each();
    };
    health.on(redis, "connect", () => (this.#refusal = undefined));
    health.on(redis, "error", (error) => {
      if (isFromServer(error)) this.#refusal = error as Error;
      wake();
    });
    health.on(redis, "ready", wake);
    health.on(redis, "end", wake);
  }

  /** True if commands may be sent at once; also if the client is closed, and says so itself. */
  get isRight(): boolean {
    return this.#isDefault || this.#redis.isReady || !this.#redis.isOpen;
  }

  /** Resolves when commands may be sent; rejects if the server refuses the database. */
  assertRight(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.isRight) resolve();
        else if (this.#refusal) reject(this.#refusal);
        else return;
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
