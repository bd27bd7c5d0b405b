import type { Scenario } from "../lib/scenario.ts";
import { crowd } from "./crowd.ts";
import { fairness } from "./fairness.ts";
import { handoff } from "./handoff.ts";
import { held } from "./held.ts";
import { importing } from "./import.ts";
import { openLoop } from "./open-loop.ts";
import { pair1, pair256 } from "./pair.ts";
import { redlockNodes } from "./redlock-nodes.ts";
import { semaphore } from "./semaphore.ts";
import { share } from "./share.ts";
import { takeover } from "./takeover.ts";
import { topologies } from "./topologies.ts";
import { waiting } from "./waiting.ts";

export const scenarios: readonly Scenario[] = [
  pair1,
  pair256,
  handoff,
  fairness,
  crowd,
  openLoop,
  waiting,
  held,
  semaphore,
  share,
  takeover,
  redlockNodes,
  topologies,
  importing,
];

export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (!found)
    throw new Error(`Expected a scenario among ${scenarios.map((each) => each.name).join(", ")}; got ${name}.`);
  return found;
}
