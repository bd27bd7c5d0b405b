/** All checks of a run, by its evidence. */
import { type Ending, checkEndings, checkFailures, checkSettled } from "./failures.ts";
import type { Evidence } from "./evidence.ts";
import { checkHolders, checkOnce, checkRegister } from "./holders.ts";
import { type Waited, checkOrder, checkService } from "./service.ts";

export interface Facts {
  readonly endings: readonly Ending[];
  /** Updates of guarded numbers that were lost. */
  readonly lostUpdates: readonly { readonly lock: string; readonly fence: number }[];
  /** Keys that were left when all had gone. */
  readonly leftovers: readonly string[];
  /** For how long run-once jobs are kept, in milliseconds. */
  readonly jobKept: number;
}

export function check(evidence: Evidence, { endings, lostUpdates, leftovers, jobKept }: Facts): Waited {
  checkHolders(evidence);
  checkRegister(evidence, lostUpdates);
  checkOnce(evidence, jobKept);
  const waited = checkService(evidence);
  checkOrder(evidence);
  checkFailures(evidence);
  checkSettled(evidence, evidence.history);
  checkEndings(evidence, endings);
  for (const key of leftovers) evidence.verdict.fail("nothing is left", `the key ${key}`, evidence.end);
  return waited;
}
