/** `holdfast/dashboard`: a live page that shows who holds and who waits, to mount in any server. */
import { Dashboard as Implementation } from "./dashboard/dashboard.ts";
import type { Manager } from "./dashboard/dashboard.ts";
import { show } from "./options/checks.ts";
import { checkDashboard } from "./options/dashboard.ts";
import type { DashboardOptions } from "./options/dashboard.ts";

export { nodeHandler } from "./dashboard/node-handler.ts";
export type { NodeHandler } from "./dashboard/node-handler.ts";
export type { Authorize, DashboardOptions } from "./options/dashboard.ts";

/** A page that shows the locks of one LockManager's server and prefix. */
export interface Dashboard {
  /** Answers the requests of the page, wherever it is mounted. You can pass it on as a function, without the object. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** Stops looking at the server and ends all viewers' event streams. Closing the LockManager does the same. */
  readonly close: () => void;
}

/**
 * A dashboard looks at the server once per `poll` for all its viewers together, and every ten polls while nobody
 * watches, so that it has a history. That history is kept in this process, in bounded memory.
 *
 * @throws TypeError or RangeError
 */
export function createDashboard(locks: Manager, options?: DashboardOptions): Dashboard {
  const { query, forceRelease } = (locks ?? {}) as Partial<Manager>;
  if (typeof query !== "function" || typeof forceRelease !== "function") {
    throw new TypeError(`Expected a LockManager; got ${show(locks)}.`);
  }
  const dashboard = new Implementation(locks, checkDashboard(options));
  return { fetch: (request) => dashboard.fetch(request), close: () => dashboard.close() };
}
