/** What a run has shown: rules that were broken, and how often an exception of the published list was met. */
import type { Rule } from "../../simulator/checks/verdict.ts";
import type { Cause } from "./affliction.ts";

export interface Violation {
  readonly rule: Rule;
  readonly text: string;
  readonly at: number;
  readonly lock: string | undefined;
}

export class Verdict {
  readonly violations: Violation[] = [];
  readonly exceptions: Map<Cause, number> = new Map();

  /** @param at when, by the clock of all @param lock which one it was about */
  fail(rule: Rule, text: string, at: number, lock?: string): void {
    this.violations.push({ rule, text, at, lock });
  }

  except(cause: Cause): void {
    this.exceptions.set(cause, (this.exceptions.get(cause) ?? 0) + 1);
  }
}
