/** Mistakes that the checks must find, each by the rule that it breaks. */
import type { Rule } from "../../simulator/checks/verdict.ts";
import type { MistakeName } from "../../simulator/mistakes/mistakes.ts";
import type { ProgramMistake } from "../client/spec.ts";
import type { FaultName, TopologyName } from "../plan/plan.ts";

export interface Planted {
  readonly name: ProgramMistake | MistakeName;
  readonly topology: TopologyName;
  readonly breaks: Rule;
  /** The faults that it takes, if it would be rare among all. */
  readonly only?: readonly FaultName[];
  /** How long there are no faults at the end, in milliseconds (default: 5,000), if faults would excuse it. */
  readonly calm?: number;
  /** Of all managers, in milliseconds: a waiter looks by itself when the lease of the holder before it would end. */
  readonly ttl?: number;
}

/** Longer than anything that went wrong excuses that somebody waits, and long enough to wait after that. */
const QUIET = 36_000;

export const PLANTED: readonly Planted[] = [
  { name: "releases without a token", topology: "one-aof", breaks: "one holder" },
  { name: "ignores losses", topology: "one-aof", breaks: "one holder", only: ["freeze client"] },
  { name: "never releases", topology: "one-aof", breaks: "service" },
  { name: "fences that fall", topology: "one-aof", breaks: "growing fences" },
  { name: "permits are not counted", topology: "one-aof", breaks: "permits" },
  { name: "exclusive beside shared", topology: "one-aof", breaks: "one holder" },
  { name: "a release of whoever holds", topology: "one-aof", breaks: "one holder" },
  { name: "a turn of readers that lets writers in", topology: "one-aof", breaks: "one holder" },
  { name: "a newcomer overtakes the queue", topology: "one-aof", breaks: "order on the server", calm: QUIET },
  { name: "a release that lets nobody in", topology: "one-aof", breaks: "service", calm: QUIET, ttl: 4_000 },
  { name: "a grant that is not pushed", topology: "one-aof", breaks: "service", calm: QUIET, ttl: 4_000 },
  { name: "a lease without an end", topology: "one-aof", breaks: "nothing is left" },
];
