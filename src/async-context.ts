/**
 * Async contexts (AsyncLocalStorage) belong to requests. What outlives a request — timers, sockets, subscriptions — must
 * not run in the context of whichever request happened to start it, nor keep that context alive.
 */
import { AsyncResource } from "node:async_hooks";

/** Made when the module is loaded, so its context is that of no request. */
const nowhere = new AsyncResource("holdfast");

/** Run in no request's context. Whatever `run` starts (timers, sockets, promises) stays out of it too. */
export function outsideContext<T>(run: () => T): T {
  return nowhere.runInAsyncScope(run);
}
