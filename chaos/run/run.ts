/** Carries out a plan: servers, client processes, faults; then the checks. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Afflictions } from "../checks/affliction.ts";
import { check } from "../checks/check.ts";
import type { Evidence } from "../checks/evidence.ts";
import { History } from "../checks/history.ts";
import { Verdict, type Violation } from "../checks/verdict.ts";
import { now } from "../client/journal.ts";
import { PROGRAM_MISTAKES, type ProgramMistake, type Way } from "../client/spec.ts";
import { JOB_KEPT, type Plan, SEMAPHORES } from "../plan/plan.ts";
import { bundleClient } from "../processes/bundle.ts";
import { Fleet } from "../processes/fleet.ts";
import { RegisterServer } from "../register/register.ts";
import { leftovers } from "../topologies/leftovers.ts";
import { openTopology } from "../topologies/open.ts";
import type { Topology } from "../topologies/topology.ts";
import { Trouble } from "../trouble/trouble.ts";
import { timeline } from "./timeline.ts";

/** How long a client may take to finish what it has begun, in milliseconds. */
const FINISHING = 40_000;
/** How often it is looked whether the laboratory itself got no processor time, and what counts, in milliseconds. */
const TICK = 50;
const STALL = 250;

export interface RunTerms {
  readonly plan: Plan;
  /** Of the simulator, to be planted in the library, or of the program. */
  readonly mistake: string | undefined;
  /** Leave the journals of the processes where they are (default: if a promise was broken). */
  readonly keeps?: boolean | undefined;
  readonly say: (line: string) => void;
}

export interface Outcome {
  readonly operations: number;
  readonly grants: number;
  readonly processes: number;
  readonly accepted: number;
  readonly refused: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly skipped: number;
  /** Requests by how they ended. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Milliseconds. */
  readonly longestWait: number;
  readonly longestWaitInVain: number;
  readonly stalls: number;
  readonly exceptions: Readonly<Record<string, number>>;
  readonly broken: readonly Violation[];
  /** What happened around each of the first violations. */
  readonly timelines: readonly (readonly string[])[];
}

export async function run({ plan, mistake, keeps, say }: RunTerms): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-chaos-"));
  const isOfProgram = (PROGRAM_MISTAKES as readonly (string | undefined)[]).includes(mistake);
  const program = await bundleClient(isOfProgram ? undefined : mistake);
  const register = new RegisterServer(join(folder, "register.sock"));
  await register.open();
  const topology = await openTopology(plan);
  const ways = new Map<string, Way>(plan.clients.map(({ name }) => [name, topology.way(name)]));
  const fleet = new Fleet(
    {
      program,
      folder,
      register: register.path,
      replicas: plan.replicas,
      mistake: isOfProgram ? (mistake as ProgramMistake) : undefined,
    },
    ways,
  );
  let isBroken = true;
  try {
    const outcome = await observe({ plan, topology, fleet, register, say });
    isBroken = outcome.broken.length > 0;
    return outcome;
  } finally {
    await fleet.killAll();
    await topology.stop();
    register.close();
    await rm(program, { force: true });
    if (keeps ?? isBroken) say(`The journals are in ${folder}.`);
    else await rm(folder, { recursive: true });
  }
}

interface Laboratory {
  readonly plan: Plan;
  readonly topology: Topology;
  readonly fleet: Fleet;
  readonly register: RegisterServer;
  readonly say: (line: string) => void;
}

async function observe({ plan, topology, fleet, register, say }: Laboratory): Promise<Outcome> {
  for (const client of plan.clients) fleet.start(client);
  await fleet.up();
  const start = now();
  const offset = Date.now() - start;
  const history = new History();
  const stopWatching = watchStalls(history);
  const afflictions = new Afflictions();
  const since = (): string => `${((now() - start) / 1_000).toFixed(1).padStart(7)} s`;
  const trouble = new Trouble({
    plan,
    fleet,
    topology,
    afflictions,
    say: (line) => say(`${since()}  ${line}`),
  });
  for (const { at, fault } of plan.steps) {
    await sleep(Math.max(0, start + at - now()));
    trouble.strike(fault);
  }
  await sleep(Math.max(0, start + plan.length - now()));
  await trouble.over();
  say(`${since()}  no more faults`);
  await sleep(plan.calm);
  say(`${since()}  the programs end`);
  await Promise.all(fleet.running.map((process) => process.end(FINISHING)));
  const { running } = fleet;
  if (running.length === 0) await fleet.start(plan.clients[0]!, true).end(FINISHING);
  stopWatching();
  const left = running.length === 0 ? await leftovers(await topology.primaries()) : [];
  for (const { journal, name } of fleet.incarnations) await history.read(journal, name);
  const evidence: Evidence = {
    history,
    afflictions: afflictions.all,
    verdict: new Verdict(),
    offset,
    fencesAreTimes: !plan.topology.startsWith("redlock"),
    isOrdered: !plan.topology.startsWith("redlock"),
    semaphores: SEMAPHORES,
    end: now(),
  };
  const endings = fleet.incarnations.map(({ name, process: { wasKilled, exitCode, said } }) => ({
    name,
    wasKilled,
    exitCode,
    said,
  }));
  const waited = check(evidence, { endings, lostUpdates: register.lost, leftovers: left, jobKept: JOB_KEPT });
  const { violations, exceptions } = evidence.verdict;
  const requests = history.requests;
  return {
    operations: requests.length,
    grants: requests.filter(({ hold }) => hold !== undefined).length,
    processes: fleet.incarnations.length,
    ...register.writes,
    faults: Object.fromEntries(trouble.counts),
    skipped: trouble.skipped,
    outcomes: counted(requests.map(({ how = "killed" }) => how)),
    longestWait: Math.round(waited.longest),
    longestWaitInVain: Math.round(waited.longestInVain),
    stalls: history.processes.reduce((sum, { stalls }) => sum + stalls.length, 0),
    exceptions: Object.fromEntries(exceptions),
    broken: violations,
    timelines: violations.slice(0, 3).map((each) => timeline(each, history, afflictions.all, start)),
  };
}

/** The laboratory carries all traffic: where it stands still, all stand still. @returns what ends it */
function watchStalls(history: History): () => void {
  const add = history.open("laboratory");
  let last = now();
  const timer = setInterval(() => {
    const t = now();
    if (t - last > STALL) add({ t, e: "stalled", from: last });
    last = t;
  }, TICK);
  return () => clearInterval(timer);
}

function counted(all: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const each of all) counts[each] = (counts[each] ?? 0) + 1;
  return counts;
}
