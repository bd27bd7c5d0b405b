/** The client processes of a run: each is started again after it was killed, and all of them leave histories. */
import { closeSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientSpec, ProgramMistake, Way } from "../client/spec.ts";
import type { ClientPlan } from "../plan/plan.ts";
import { ClientProcess } from "./client-process.ts";

export interface FleetTerms {
  readonly program: string;
  readonly folder: string;
  readonly register: string;
  readonly replicas: number;
  readonly mistake: ProgramMistake | undefined;
}

/** One process of a client, and where its history is. */
export interface Incarnation {
  readonly client: string;
  readonly process: ClientProcess;
  /** The client's name, and which of its processes it is. */
  readonly name: string;
  readonly journal: string;
}

/** How long they may take to start, in milliseconds. */
const STARTING = 30_000;

export class Fleet {
  /** All that were ever started. */
  readonly incarnations: Incarnation[] = [];
  readonly #terms: FleetTerms;
  readonly #ways: ReadonlyMap<string, Way>;
  readonly #now = new Map<string, ClientProcess>();

  constructor(terms: FleetTerms, ways: ReadonlyMap<string, Way>) {
    this.#terms = terms;
    this.#ways = ways;
  }

  start(plan: ClientPlan, isSweep = false): ClientProcess {
    const way = this.#ways.get(plan.name);
    if (!way) throw new Error(`The client ${plan.name} has no way to the servers.`);
    const { folder, register, replicas, mistake, program } = this.#terms;
    const name = `${plan.name}.${this.incarnations.filter(({ client }) => client === plan.name).length + 1}`;
    const journal = join(folder, `${name}.jsonl`);
    const spec: ClientSpec = { plan, way, journal, register, replicas, isSweep, mistake };
    closeSync(openSync(journal, "a")); // it may be killed before it has written anything
    const started = new ClientProcess(program, spec);
    this.incarnations.push({ client: plan.name, process: started, name, journal });
    this.#now.set(plan.name, started);
    return started;
  }

  /** Resolves once all have written something down. */
  async up(): Promise<void> {
    const until = performance.now() + STARTING;
    while (this.incarnations.some(({ journal }) => statSync(journal).size === 0)) {
      if (performance.now() > until) throw new Error(`Not all client processes were up within ${STARTING} ms.`);
      await sleep(20);
    }
  }

  /** The process of that client that runs now. */
  get(client: string): ClientProcess {
    const found = this.#now.get(client);
    if (!found) throw new Error(`There is no client ${client}.`);
    return found;
  }

  get running(): ClientProcess[] {
    return [...this.#now.values()].filter(({ isRunning }) => isRunning);
  }

  async killAll(): Promise<void> {
    await Promise.all(this.running.map((each) => each.kill()));
  }
}
