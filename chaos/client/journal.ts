/**
 * A client's part of the history: one line of JSON for each thing that it did or learned, written to its file at once,
 * so that a killed process leaves all of it. Times are CLOCK_MONOTONIC in milliseconds, which all processes of a machine
 * share.
 */
import { openSync, writeSync } from "node:fs";

export type Verb = "request" | "acquire" | "try" | "permits" | "once";

/** What a lock says of itself at that time, read after the time was taken. */
export interface Belief {
  readonly held: boolean;
  /** Milliseconds. */
  readonly left: number;
}

/** `r` numbers the requests of a process. */
export type Entry = { readonly t: number } & (
  | { readonly e: "up"; readonly client: string; readonly pid: number }
  | {
      readonly e: "asked";
      readonly r: number;
      readonly verb: Verb;
      readonly lock: string;
      readonly mode: "exclusive" | "shared";
      readonly ttl: number;
      readonly permits?: number;
      /** It has a place in the queue for itself. */
      readonly alone?: true;
      readonly waitTimeout?: number;
      readonly abortAfter?: number;
    }
  | { readonly e: "queued"; readonly r: number }
  | ({ readonly e: "granted"; readonly r: number; readonly fence: number; readonly token: string } & Belief)
  | ({ readonly e: "sampled"; readonly r: number } & Belief)
  | ({ readonly e: "leaving"; readonly r: number } & Belief)
  | { readonly e: "settled"; readonly r: number; readonly how: string; readonly message?: string }
  | { readonly e: "stalled"; readonly from: number }
  | { readonly e: "closing" }
  | { readonly e: "down" }
);

type WithoutTime<T> = T extends unknown ? Omit<T, "t"> : never;

export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export class Journal {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  add(entry: WithoutTime<Entry>, t: number = now()): void {
    writeSync(this.#file, `${JSON.stringify({ t: Math.round(t * 1e3) / 1e3, ...entry })}\n`);
  }
}
