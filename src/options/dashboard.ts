import { dictionary, duration, flag, onlyAmong, show } from "./checks.ts";

/** Settings of a dashboard. */
export interface DashboardOptions {
  /** Shown at the top of the page and as its title (default "Locks"). */
  title?: string | undefined;
  /**
   * Whether the page only shows locks (default true). With false a viewer can take a lock from its holder by force,
   * which needs `authorize`.
   */
  readOnly?: boolean | undefined;
  /**
   * Called for every request. Return false to refuse it with 403, or a Response to answer it yourself, for example to
   * redirect to a login page. Default: every request is allowed, so mount the dashboard behind your own authentication.
   */
  authorize?: Authorize | undefined;
  /** Milliseconds between two looks at the server while somebody watches (default 1,000; at least 100). */
  poll?: number | undefined;
  /**
   * A hold or a queue that does not move is reported as stuck after this many milliseconds at the earliest (default
   * 60,000).
   */
  stuckAfter?: number | undefined;
}

export type Authorize = (request: Request) => boolean | Response | Promise<boolean | Response>;

export interface CheckedDashboard {
  readonly title: string;
  readonly readOnly: boolean;
  readonly authorize: Authorize | undefined;
  readonly poll: number;
  readonly stuckAfter: number;
}

const DASHBOARD_OPTIONS = new Set(["title", "readOnly", "authorize", "poll", "stuckAfter"]);
const LONGEST_TITLE = 100;
export const SHORTEST_POLL = 100;

/** @throws TypeError or RangeError */
export function checkDashboard(options: unknown): CheckedDashboard {
  const given = dictionary(options, "options");
  onlyAmong(given, DASHBOARD_OPTIONS);
  const { title = "Locks", authorize } = given;
  if (typeof title !== "string" || title.length > LONGEST_TITLE || !title.isWellFormed()) {
    throw new TypeError(`Expected title to be a string of at most ${LONGEST_TITLE} characters; got ${show(title)}.`);
  }
  if (authorize !== undefined && typeof authorize !== "function") {
    throw new TypeError(`Expected authorize to be a function; got ${show(authorize)}.`);
  }
  const readOnly = flag(given["readOnly"], "readOnly") ?? true;
  if (!readOnly && !authorize) {
    throw new TypeError(
      "Expected authorize together with readOnly: false, because viewers can then take locks from their holders; " +
        "got none. If requests are authenticated before they reach the dashboard, pass authorize: () => true.",
    );
  }
  return {
    title,
    readOnly,
    authorize: authorize as Authorize | undefined,
    poll: duration(given["poll"], "poll", SHORTEST_POLL) ?? 1_000,
    stuckAfter: duration(given["stuckAfter"], "stuckAfter", 1_000) ?? 60_000,
  };
}
