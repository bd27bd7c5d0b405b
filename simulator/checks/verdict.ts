/** What a run has shown: rules that were broken, and how often an exception of the published list was met. */
import type { Cause } from "./attempt.ts";
import type { History } from "./history.ts";

/** Each is a promise of docs/guarantees.md, or of an API's documentation. */
export type Rule =
  | "one holder"
  | "permits"
  | "timely loss"
  | "growing fences"
  | "guarded writes"
  | "order on the server"
  | "order in a process"
  | "service"
  | "runs once"
  | "nothing is left"
  | "errors";

export interface Violation {
  readonly rule: Rule;
  readonly text: string;
  /** When, in milliseconds of the world. */
  readonly at: number;
}

export class Verdict {
  readonly violations: Violation[] = [];
  readonly exceptions: Map<Cause, number> = new Map();
  readonly #history: History;

  constructor(history: History) {
    this.#history = history;
  }

  fail(rule: Rule, text: string): void {
    this.violations.push({ rule, text, at: this.#history.now });
    this.#history.add("!!!", `${rule}: ${text}`);
  }

  except(cause: Cause, text: string): void {
    this.exceptions.set(cause, (this.exceptions.get(cause) ?? 0) + 1);
    this.#history.add("(!)", `allowed, because ${cause}: ${text}`);
  }
}
