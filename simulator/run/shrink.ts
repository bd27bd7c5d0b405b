/** Makes a failing plan smaller: shorter, with fewer clients, operations and faults, as long as it breaks the same rule. */
import type { Rule } from "../checks/verdict.ts";
import type { Plan, Step } from "../plan/plan.ts";
import type { Outcome } from "./fleet.ts";

/** How long after the rule was broken nothing new has to begin, in milliseconds. */
const MARGIN = 1_000;

export interface Shrunk {
  readonly outcome: Outcome;
  /** How many plans were tried. */
  readonly tries: number;
}

/**
 * @param outcome of the plan that broke a rule
 * @param run carries out a plan
 * @param most how many plans may be tried
 */
export async function shrink(outcome: Outcome, run: (plan: Plan) => Promise<Outcome>, most = 300): Promise<Shrunk> {
  const { rule } = outcome.verdict.violations[0] as { rule: Rule };
  let smallest = outcome;
  let tries = 0;
  const attempt = async (plan: Plan): Promise<boolean> => {
    if (tries === most) return false;
    tries++;
    const tried = await run(plan);
    if (!tried.verdict.violations.some((violation) => violation.rule === rule)) return false;
    smallest = tried;
    return true;
  };
  await attempt(shortened(smallest, rule));
  for (const { name } of outcome.plan.clients) await attempt(without(smallest.plan, name));
  for (let size = Math.ceil(smallest.plan.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < smallest.plan.steps.length;) {
      const { plan } = smallest;
      const steps = plan.steps.filter((_, i) => i < from || i >= from + size);
      if (!(await attempt({ ...plan, steps }))) from += size;
    }
  }
  await attempt(shortened(smallest, rule));
  return { outcome: smallest, tries };
}

/** Nothing begins after the rule was broken. */
function shortened({ plan, verdict }: Outcome, rule: Rule): Plan {
  const at = Math.min(...verdict.violations.filter((each) => each.rule === rule).map((each) => each.at));
  const length = Math.min(plan.length, at + MARGIN);
  return { ...plan, length, steps: plan.steps.filter((step) => step.at <= length) };
}

/** @param name of a client, which is left out, with what happens to it and what is handed to it */
function without(plan: Plan, name: string): Plan {
  const clients = plan.clients.filter((client) => client.name !== name);
  return { ...plan, clients, steps: plan.steps.filter((step) => !concerns(step, name)) };
}

function concerns(step: Step, name: string): boolean {
  if ("operation" in step) return step.client === name || step.operation.heir === name;
  return "client" in step.trouble && step.trouble.client === name;
}
