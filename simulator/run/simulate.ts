/** Runs one seed after the other until enough has been simulated, and says what that has shown. */
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { drawPlan } from "../plan/draw.ts";
import type { Plan, SchemeUnderTest } from "../plan/plan.ts";
import { RealServer } from "../server/real.ts";
import { Fleet } from "./fleet.ts";
import type { Outcome } from "./fleet.ts";
import { shrink } from "./shrink.ts";
import { Tally } from "./tally.ts";

export interface SimulateTerms {
  readonly seed: string;
  /** When it is enough: after so many virtual hours, or real minutes. */
  readonly hours?: string | undefined;
  readonly minutes?: string | undefined;
  readonly scheme: string;
  readonly faults?: string | undefined;
  /** Whether everybody wants one lock: "always", "never", or "sometimes", which is in every fourth run. */
  readonly crowd: string;
  /** Clients only share one lock, at the same moments. */
  readonly readers: boolean;
  /** Show the time line of the first run, also if nothing is wrong with it. */
  readonly history: boolean;
  /** A file to which a line with the figures is added. */
  readonly results?: string | undefined;
  /** A file for a smaller plan that breaks the same rule, if one is broken. */
  readonly shrink?: string | undefined;
}

/** One run in so many is a crowd. No scheme's turn comes with each of them. */
const CROWD_EVERY = 4;

/** @returns false if a rule was broken */
export async function simulate(terms: SimulateTerms): Promise<boolean> {
  const { seed, scheme, faults, history, results } = terms;
  const schemes = scheme.split(",") as SchemeUnderTest[];
  await using servers = await Servers.start();
  const tally = new Tally();
  let broken: Outcome | undefined;
  while (!broken && !isEnough(tally, terms)) {
    const run = {
      seed: tally.runs === 0 ? seed : `${seed}.${tally.runs}`,
      scheme: schemes[tally.runs % schemes.length] ?? "lua",
      crowd: terms.crowd === "always" || (terms.crowd === "sometimes" && tally.runs % CROWD_EVERY === CROWD_EVERY - 1),
      readers: terms.readers,
    };
    const outcome = await servers.run(drawPlan(faults === undefined ? run : { ...run, faults: Number(faults) }));
    tally.add(outcome);
    if (outcome.verdict.violations.length > 0) broken = outcome;
    if (broken && terms.shrink !== undefined) broken = await shrunk(broken, servers, terms.shrink);
    if (broken || history) report(broken ?? outcome);
    if (history) break;
  }
  if (!history) for (const line of tally.lines) console.log(line);
  if (broken) report(broken, true);
  if (results !== undefined) {
    const figures = { seed, schemes, server: servers.version, ...tally.figures, broken: broken?.verdict.violations };
    await appendFile(results, `${JSON.stringify(figures)}\n`);
  }
  return !broken;
}

/** Carries out a plan from a file. @returns false if a rule was broken */
export async function replay(file: string): Promise<boolean> {
  await using servers = await Servers.start();
  const outcome = await servers.run(JSON.parse(await readFile(file, "utf8")) as Plan);
  report(outcome);
  return outcome.verdict.violations.length === 0;
}

async function shrunk(broken: Outcome, servers: Servers, file: string): Promise<Outcome> {
  report(broken, true); // the search may take long, and be ended
  const { outcome, tries } = await shrink(broken, (plan) => servers.run(plan));
  const { clients, steps, length } = outcome.plan;
  await writeFile(file, JSON.stringify(outcome.plan));
  const size = `${clients.length} clients, ${steps.length} steps, ${(length / 1_000).toFixed(0)} s`;
  console.log(`a smaller plan after ${tries} tries: ${size}; replay it with --plan ${file}`);
  return outcome;
}

function isEnough(tally: Tally, { hours, minutes }: SimulateTerms): boolean {
  return minutes === undefined ? tally.hours >= Number(hours ?? 10) : tally.realMinutes >= Number(minutes);
}

/** The real servers that all runs use, one after the other. Of one server, a restart is the start of the other. */
export class Servers {
  readonly #real: RealServer[];

  private constructor(real: RealServer[]) {
    this.#real = real;
  }

  static async start(): Promise<Servers> {
    return new Servers([await RealServer.start("one"), await RealServer.start("two")]);
  }

  get version(): string {
    return (this.#real[0] as RealServer).version;
  }

  async run(plan: Plan): Promise<Outcome> {
    while (this.#real.length < plan.servers.length)
      this.#real.push(await RealServer.start(`${this.#real.length + 1}`, 0));
    return this.#run(plan);
  }

  /** In a callback of the event loop: from inside a promise, no promise of the fleet could be waited for. */
  #run(plan: Plan): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        try {
          resolve(new Fleet(plan, this.#real).run());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  async stop(): Promise<void> {
    for (const real of this.#real) await real.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** @param isShort without the time line */
function report({ plan, history, verdict }: Outcome, isShort = false): void {
  if (!isShort) for (const line of history.lines) console.log(line);
  const crowd = plan.isCrowd === true ? "always" : "never";
  const kind = plan.isOfReaders === true ? "readers" : `crowd ${crowd}`;
  console.log(`seed ${plan.seed}, scheme ${plan.scheme}, ${kind}`);
  for (const { rule, text } of verdict.violations) console.log(`broken: ${rule}: ${text}`);
}
