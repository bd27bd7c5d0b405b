/** Runs one seed after the other until enough hours have been simulated, and says what that has shown. */
import type { Cause } from "../checks/attempt.ts";
import { drawPlan } from "../plan/draw.ts";
import type { Plan, SchemeUnderTest } from "../plan/plan.ts";
import { RealServer } from "../server/real.ts";
import { Fleet } from "./fleet.ts";
import type { Outcome } from "./fleet.ts";

export interface SimulateTerms {
  readonly seed: string;
  readonly hours: string;
  readonly scheme: string;
  readonly faults?: string | undefined;
  /** Show the time line of the first run, also if nothing is wrong with it. */
  readonly history: boolean;
}

/** @returns false if a rule was broken */
export async function simulate({ seed, hours: wanted, scheme, faults, history }: SimulateTerms): Promise<boolean> {
  const schemes = scheme.split(",") as SchemeUnderTest[];
  const exceptions = new Map<Cause, number>();
  const sum = { hours: 0, commands: 0, holds: 0, accepted: 0, refused: 0, runs: 0 };
  const cpu = process.cpuUsage();
  const began = performance.now();
  await using servers = await Servers.start();
  while (sum.hours < Number(wanted)) {
    const terms = {
      seed: sum.runs === 0 ? seed : `${seed}.${sum.runs}`,
      scheme: schemes[sum.runs % schemes.length] ?? "lua",
    };
    const plan = drawPlan(faults === undefined ? terms : { ...terms, faults: Number(faults) });
    const outcome = await servers.run(plan);
    sum.runs++;
    sum.hours += outcome.hours;
    sum.commands += outcome.commands;
    sum.holds += outcome.holds;
    sum.accepted += outcome.writes.accepted;
    sum.refused += outcome.writes.refused;
    for (const [cause, count] of outcome.verdict.exceptions)
      exceptions.set(cause, (exceptions.get(cause) ?? 0) + count);
    if (outcome.verdict.violations.length > 0 || history) {
      report(outcome);
      if (outcome.verdict.violations.length > 0) return false;
      if (history) break;
    }
  }
  const { user, system } = process.cpuUsage(cpu);
  const minutes = (user + system) / 60e6;
  const real = (performance.now() - began) / 60e3;
  const figures = [
    `${sum.runs} runs, ${sum.hours.toFixed(1)} virtual hours, ${sum.commands} commands, ${sum.holds} holders,`,
    `${sum.accepted} guarded writes accepted and ${sum.refused} refused`,
  ];
  console.log(figures.join(" "));
  const counted = [...exceptions].map(([cause, count]) => `${cause} ${count}`).join(", ");
  console.log(`exceptions of the published list: ${counted || "none"}`);
  console.log(
    `${(sum.hours / minutes).toFixed(0)} virtual hours a minute of this process's CPU, ${(sum.hours / real).toFixed(0)} a minute`,
  );
  return true;
}

/** The two servers that all runs use, one after the other. */
export class Servers {
  readonly #real: readonly [RealServer, RealServer];

  private constructor(real: readonly [RealServer, RealServer]) {
    this.#real = real;
  }

  static async start(): Promise<Servers> {
    return new Servers([await RealServer.start("one"), await RealServer.start("two")]);
  }

  run(plan: Plan): Promise<Outcome> {
    return new Fleet(plan, this.#real).run();
  }

  async stop(): Promise<void> {
    for (const real of this.#real) await real.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function report({ plan, history, verdict }: Outcome): void {
  for (const line of history.lines) console.log(line);
  console.log(`seed ${plan.seed}, scheme ${plan.scheme}`);
  for (const { rule, text } of verdict.violations) console.log(`broken: ${rule}: ${text}`);
}
