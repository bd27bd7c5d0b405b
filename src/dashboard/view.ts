/**
 * What the page is sent: an event with a `View` after each look at the server, and the `Past` of all locks once. Times
 * are milliseconds, counted from the look (`held`, `left`) or since 1970 (`time`); what is not known is null.
 */
import type { Show, Sort } from "../observation/find.ts";
import type { LockKind, PastHold, QueueLength, Totals } from "../observation/observation.ts";
import type { Point } from "../observation/series.ts";
import type { Stuck } from "../observation/stuck.ts";
import type { LockMode } from "../schemes/scheme.ts";

export type { Show, Sort };
export type { LockKind, PastHold, Point, QueueLength, Stuck, Totals };

/** What a page asks for, in the query of its URL. */
export interface Question {
  /** Words, all of which occur in the name of a lock, a label, a fence or a token. */
  readonly search: string;
  readonly show: Show;
  readonly sort: Sort;
  /** How many rows at most. */
  readonly count: number;
  /** The lock that is looked at; null for the overview. */
  readonly lock: string | null;
}

export interface View {
  /** How long ago the look was, and how long until the next one at present. */
  readonly age: number;
  readonly pace: number;
  /** Why the latest look failed; what else is shown is from before. */
  readonly failure: { readonly message: string; readonly since: number } | null;
  readonly totals: Totals;
  /** The newest point of the charts. */
  readonly point: Point | null;
  /** The worst of the locks that are stuck, and how many there are. */
  readonly stuck: readonly Row[];
  readonly stuckCount: number;
  /** The first of the locks that were asked for, and how many there are. */
  readonly rows: readonly Row[];
  readonly matching: number;
  /** The lock that was asked for; null if none was, or nobody holds it or waits for it. */
  readonly lock: LockView | null;
  /** The history of that lock; null if none was asked for, or it is as it was in the event before. */
  readonly past: LockPast | null;
}

export interface Row {
  readonly name: string;
  readonly kind: LockKind;
  readonly mode: LockMode | null;
  readonly limit: number | null;
  readonly used: number;
  /** The first holder; null while nobody holds it. */
  readonly holder: HolderView | null;
  readonly holderCount: number;
  readonly waiterCount: number;
  readonly longestWait: number;
  readonly usualHold: number | null;
  readonly isForeign: boolean;
  readonly stuck: Stuck | null;
}

export interface HolderView {
  readonly label: string;
  readonly clientLabel: string;
  /** Null for a foreign holder. */
  readonly token: string | null;
  readonly mode: LockMode;
  readonly fence: number | null;
  readonly permits: number | null;
  readonly held: number;
  /** It may have been held for longer than `held`. */
  readonly heldIsLeast: boolean;
  readonly left: number | null;
  /** About its ttl. */
  readonly lease: number | null;
  readonly renewals: number;
  /** How long ago the last renewal was seen. */
  readonly renewed: number | null;
  readonly waited: number | null;
  /** A job of `once`: its state. */
  readonly job: "running" | "done" | "failed" | null;
}

export interface WaiterView {
  readonly label: string;
  readonly clientLabel: string;
  readonly mode: LockMode;
  readonly permits: number | null;
  readonly waited: number | null;
}

export interface LockView extends Row {
  readonly holders: readonly HolderView[];
  readonly queue: readonly WaiterView[];
}

export interface LockPast {
  /** Newest last. */
  readonly holds: readonly PastHold[];
  readonly lengths: readonly QueueLength[];
}

/** The points of the charts until now, of the range that was asked for: each look, or each minute. */
export type Past = Readonly<Record<"recent" | "minutes", readonly Point[]>>;

/** The body of a request that frees a lock: from exactly these holders, null for a foreign one. */
export interface ReleaseOrder {
  readonly name: string;
  readonly tokens: readonly (string | null)[];
}

export interface ReleaseOutcome {
  /** The labels of those who lost the lock. */
  readonly freed: readonly string[];
}
