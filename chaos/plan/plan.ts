/**
 * What a seed decides, as plain data: which clients there are, how they are set up, and what goes wrong when. Real
 * processes never repeat to the microsecond, so a plan that is carried out twice gives two histories.
 */
export const TOPOLOGIES = ["one", "one-aof", "sentinel", "cluster", "redlock-3", "redlock-5"] as const;
export type TopologyName = (typeof TOPOLOGIES)[number];

export type Library = "ioredis" | "node-redis" | "glide";

export interface ClientPlan {
  readonly name: string;
  readonly library: Library;
  /** The manager's `turn`; undefined for schemes that have none. */
  readonly turn: number | undefined;
  /** The manager's `ttl`, in milliseconds. */
  readonly ttl: number;
  /** How many requests its program makes at a time. */
  readonly workers: number;
  readonly seed: string;
}

/** Between one client (undefined: all of them) and one server (undefined: all of them). */
interface Route {
  readonly client?: string;
  readonly server?: number;
}

/** Times are in milliseconds. */
export type Fault =
  | { readonly fault: "kill client"; readonly client: string; readonly time: number }
  | { readonly fault: "freeze client"; readonly client: string; readonly time: number }
  | (Route & { readonly fault: "black hole" | "drop replies" | "refuse" | "delay"; readonly time: number })
  | (Route & { readonly fault: "reset" })
  | { readonly fault: "kill connections"; readonly server: number; readonly which: "normal" | "pubsub" }
  | { readonly fault: "forget scripts"; readonly server: number }
  | { readonly fault: "freeze server" | "restart server"; readonly server: number; readonly time: number }
  | { readonly fault: "fill disk" | "slow disk"; readonly server: number; readonly time: number }
  /** Of the server that has this lock. */
  | { readonly fault: "fail over"; readonly lock: string }
  | {
      readonly fault: "kill primary" | "zombie primary" | "cut off primary";
      readonly lock: string;
      readonly time: number;
    }
  | { readonly fault: "move slot"; readonly lock: string };

export type FaultName = Fault["fault"];

export interface Step {
  /** Milliseconds from the start. */
  readonly at: number;
  readonly fault: Fault;
}

export interface Plan {
  readonly topology: TopologyName;
  readonly seed: string;
  /** How long faults happen, in milliseconds. */
  readonly length: number;
  /** How long the programs go on after that, in milliseconds. */
  readonly calm: number;
  readonly clients: readonly ClientPlan[];
  readonly steps: readonly Step[];
  /** Redis' `appendfsync`, if there is a disk. */
  readonly fsync: "always" | "everysec" | undefined;
  /** `durability: { replicas }` of all managers; 0 for none. */
  readonly replicas: number;
}

/** Locks that many programs want at a time, and locks that are mostly free. */
export const BUSY = ["a", "b", "c"] as const;
export const QUIET = Array.from({ length: 24 }, (_, i) => `quiet ${i + 1}`);
/** Semaphores, and how many permits each has. */
export const SEMAPHORES: Readonly<Record<string, number>> = { s: 3, t: 5 };
/** A run-once job has a new name in each slot of that many milliseconds, and stays for `JOB_KEPT` after it began. */
export const JOB_SLOT = 4_000;
export const JOB_KEPT = 8_000;
