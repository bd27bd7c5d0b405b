/**
 * What a seed decides, as plain data: who there is, what they do, and what goes wrong. Whatever happens follows from the
 * plan; so a plan with parts left out is a smaller world of its own, and a plan can be kept as a file.
 */
import type { LossPolicy } from "../network/commands.ts";

export type SchemeUnderTest = "lua" | "set" | "redlock";

export interface ClientPlan {
  readonly name: string;
  /** How fast its clock runs, and how far its wall clock is off. */
  readonly rate: number;
  readonly offset: number;
  readonly latency: number;
  readonly jitter: number;
  readonly policy: LossPolicy;
  readonly tellsServer: boolean;
  readonly turn: number;
  /** How likely a reading of its clock is to be followed by a hitch. */
  readonly hitches: number;
}

export type Verb =
  | "request"
  | "acquire"
  | "try"
  | "steal"
  | "permits"
  | "several"
  | "reenter"
  | "elect"
  | "once"
  | "hand over"
  | "query"
  | "force"
  | "close";

/** What a holder does before it leaves. */
export type Deed = "extend" | "downgrade" | "throw" | "block" | "forget";

/** One thing that a program does with its manager. Times are in milliseconds. */
export interface Operation {
  readonly do: Verb;
  readonly locks: readonly string[];
  readonly mode?: "exclusive" | "shared";
  readonly ttl?: number;
  /** For how long it works under the lock. */
  readonly hold: number;
  readonly permits?: number;
  readonly waitTimeout?: number;
  readonly abortAfter?: number;
  readonly maxHold?: number;
  readonly renew?: boolean;
  readonly maxQueue?: number;
  readonly watches?: boolean;
  readonly label?: string;
  readonly deed?: Deed;
  /** For how long it blocks its event loop, with the deed "block". */
  readonly blockFor?: number;
  /** Whom it hands the lock to, and how long that takes on the way. */
  readonly heir?: string;
  readonly travel?: number;
  readonly atLeast?: number;
}

/** What goes wrong at servers, or on the way of a client to them, goes wrong at these, by number; without, at all of them. */
export type Fault = { readonly nodes?: readonly number[] } & (
  | { readonly fault: "crash"; readonly client: string; readonly silent: boolean; readonly back: number }
  | { readonly fault: "freeze" | "sleep"; readonly client: string; readonly time: number }
  | { readonly fault: "stall"; readonly client: string; readonly time: number }
  | { readonly fault: "slow"; readonly client: string; readonly time: number; readonly factor: number }
  | {
      readonly fault: "break";
      readonly client: string;
      readonly which: "commands" | "pushes" | "all";
      readonly deafFor: number;
      readonly clientNotices: number;
      readonly serverNotices: number;
    }
  | { readonly fault: "restart"; readonly memory: "kept" | "lost" | "old"; readonly down: number }
  | { readonly fault: "freeze server"; readonly time: number }
  | { readonly fault: "clock jump"; readonly by: number }
  | { readonly fault: "out of memory" | "read only" | "loading"; readonly time: number }
  | { readonly fault: "forget scripts" }
  | { readonly fault: "foreign holder"; readonly lock: string; readonly hold: number }
  | { readonly fault: "delete"; readonly lock: string }
);

export type Step = { readonly at: number } & (
  { readonly client: string; readonly operation: Operation } | { readonly trouble: Fault }
);

export interface ServerPlan {
  /** How fast its clock runs, and how far its wall clock is off. */
  readonly rate: number;
  readonly offset: number;
}

export interface Plan {
  readonly seed: string;
  readonly scheme: SchemeUnderTest;
  readonly servers: readonly ServerPlan[];
  /** How far behind an old snapshot is, for those restarts that find one. */
  readonly snapshotEvery: number;
  readonly clients: readonly ClientPlan[];
  /** When programs begin nothing new, and nothing goes wrong any more. */
  readonly length: number;
  readonly steps: readonly Step[];
  /** Everybody wants one lock. */
  readonly isCrowd?: boolean;
  /** Clients only share one lock, at the same moments. */
  readonly isOfReaders?: boolean;
}

/** The names that operations use, and what each is. */
export const LOCKS = ["a", "b", "s", "e", "j"] as const;
/** How many permits the semaphore has. */
export const LIMIT = 3;
