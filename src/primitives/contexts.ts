import { AsyncLocalStorage } from "node:async_hooks";
import type { Holding } from "../leases/holding.ts";

/**
 * Under which locks of one manager code runs: what a callback does, through everything asynchronous. Whoever makes one
 * makes all promises of the process a little slower, so it is made only for those who ask for it.
 */
export class Contexts {
  readonly #storage = new AsyncLocalStorage<ReadonlyMap<string, Holding>>();

  /** What the innermost callback around the running code has of that lock. */
  of(lock: string): Holding | undefined {
    return this.#storage.getStore()?.get(lock);
  }

  run<T>(holdings: readonly Holding[], callback: () => T): T {
    const context = new Map(this.#storage.getStore());
    for (const holding of holdings) context.set(holding.grant.lock, holding);
    return this.#storage.run(context, callback);
  }
}
