/** What is said between the demo and its workers. */

/** How the workers keep out of each other's way in a round. */
export type Way = "none" | "tutorial" | "holdfast";

/** `EX` counts whole seconds, and so this is the shortest lease that both locks can have. */
export const LEASE_SECONDS = 1;
export const LEASE = LEASE_SECONDS * 1000;
/** How often the tutorial's lock is tried. */
export const POLL = 50;

/** Where a worker lingers in its turn: between reading and writing, or between writing and unlocking. */
export type Spot = "read" | "written";

export type Order =
  | { kind: "start" }
  /** Linger at this spot of your next turn, and say so. */
  | { kind: "linger"; at: Spot }
  /** Linger no more. */
  | { kind: "go on" };

/** What one turn of a worker was like. */
export interface Turn {
  /** Milliseconds until the lock was had. */
  waited: number;
  /** How many others were inside when it came in. */
  others: number;
  /** Milliseconds between reading and writing. */
  took: number;
  /** True if the record took the write. */
  written: boolean;
  /** True if the worker's lease was over when it wrote. */
  late: boolean;
  /** True if a lock was removed by somebody who did not hold it. Seen by who removed it, or by who lost it. */
  wronglyRemoved?: boolean;
  /** What holdfast told it about the end of its lease. */
  told?: string;
}

export type Report = { kind: "ready" } | { kind: "lingering" } | { kind: "turn"; turn: Turn } | { kind: "done" };
