/**
 * Async contexts (AsyncLocalStorage) belong to requests. What outlives a request — timers, sockets, subscriptions —
 * must not run in the context of whichever request happened to start it, nor keep that context alive.
 */
import { builtin } from "./runtime.ts";

/** A context that something was made in, to run more in it later. If the runtime has no contexts, there is only one. */
export interface AsyncContext {
  runInAsyncScope<T>(run: () => T): T;
}

/** Remembers the context that it is made in. */
export const ContextOfNow: new (type: string) => AsyncContext =
  builtin("node:async_hooks")?.AsyncResource ??
  class {
    runInAsyncScope<T>(run: () => T): T {
      return run();
    }
  };

/** Made when the module is loaded, so it belongs to no request. */
const nowhere = new ContextOfNow("holdfast");

/** Run in no request's context. Whatever `run` starts (timers, sockets, promises) stays out of it too. */
export function outsideContext<T>(run: () => T): T {
  return nowhere.runInAsyncScope(run);
}
