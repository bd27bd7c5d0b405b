/** Mistakes that the checks must find, each by the rule that it breaks. */
import type { Rule } from "../../simulator/checks/verdict.ts";
import type { MistakeName } from "../../simulator/mistakes/mistakes.ts";
import type { ProgramMistake } from "../client/spec.ts";
import type { TopologyName } from "../plan/plan.ts";

export interface Planted {
  readonly name: ProgramMistake | MistakeName;
  readonly topology: TopologyName;
  readonly breaks: Rule;
}

export const PLANTED: readonly Planted[] = [
  { name: "releases without a token", topology: "one-aof", breaks: "one holder" },
  { name: "ignores losses", topology: "one-aof", breaks: "one holder" },
  { name: "never releases", topology: "one-aof", breaks: "service" },
  { name: "fences that fall", topology: "one-aof", breaks: "growing fences" },
  { name: "permits are not counted", topology: "one-aof", breaks: "permits" },
  { name: "exclusive beside shared", topology: "one-aof", breaks: "one holder" },
  { name: "a release of whoever holds", topology: "one-aof", breaks: "one holder" },
  { name: "a turn of readers that lets writers in", topology: "one-aof", breaks: "one holder" },
  { name: "a newcomer overtakes the queue", topology: "one-aof", breaks: "order on the server" },
  { name: "a release that lets nobody in", topology: "one-aof", breaks: "service" },
  { name: "a grant that is not pushed", topology: "one-aof", breaks: "service" },
  { name: "a lease without an end", topology: "one-aof", breaks: "nothing is left" },
];
