/** Draws a plan from a seed. Each part has chances of its own, so that leaving one out changes no other. */
import type { Random } from "../world/random.ts";
import { Random as Chances } from "../world/random.ts";
import { Aim } from "./aim.ts";
import { crowded } from "./crowd.ts";
import { LIMIT, LOCKS } from "./plan.ts";
import { ofReaders } from "./readers.ts";
import type { ClientPlan, Deed, Fault, Operation, Plan, SchemeUnderTest, ServerPlan, Step, Verb } from "./plan.ts";

const MINUTE = 60_000;
/** The longest ttl. */
const LONGEST = 60_000;

export interface PlanTerms {
  readonly seed: string;
  readonly scheme: SchemeUnderTest;
  readonly clients?: number;
  /** In milliseconds. */
  readonly length?: number;
  /** How many faults in an hour; 0 for none. */
  readonly faults?: number;
  /** Everybody wants one lock. */
  readonly crowd?: boolean;
  /** Clients do nothing but share one lock at the same moments, and nothing goes wrong. */
  readonly readers?: boolean;
}

export function drawPlan(terms: PlanTerms): Plan {
  const plan = drawEach(terms);
  if (terms.readers === true) return ofReaders(plan, new Chances(`${terms.seed}/readers`));
  return terms.crowd === true ? crowded(plan, new Chances(`${terms.seed}/crowd`)) : plan;
}

function drawEach({ seed, scheme, clients: size = 5, length = 10 * MINUTE, faults }: PlanTerms): Plan {
  const chances = new Chances(seed);
  const names = Array.from({ length: size }, (_, i) => String.fromCharCode(65 + i));
  const clients = names.map((name) => drawClient(name, scheme, chances.fork(name)));
  const world = chances.fork("world");
  // Some runs are calm and busy, others are stormy.
  const pause = world.spread(8_000, 120_000);
  const perHour = faults ?? (world.chance(0.15) ? 0 : world.spread(6, 200));
  const steps: Step[] = [];
  const longest = scheme === "redlock" ? Math.round(chances.fork("leases").spread(1_000, LONGEST)) : LONGEST;
  for (const name of names) {
    const own = chances.fork(`steps of ${name}`);
    for (let at = own.between(0, pause); at < length; at += own.between(0, 2 * pause)) {
      const burst = own.chance(0.15) ? 2 + own.below(6) : 1;
      const first = drawOperation(own, { scheme, name, names, longest });
      for (let i = 0; i < burst; i++) {
        // Those who ask at once mostly ask for the same.
        const operation = i === 0 || own.chance(0.7) ? first : drawOperation(own, { scheme, name, names, longest });
        steps.push({ at: at + i * own.between(0, 3), client: name, operation });
      }
    }
  }
  const storm = chances.fork("storm");
  const every = 3_600_000 / perHour;
  const first = { rate: world.between(0.9995, 1.0005), offset: 0 };
  const snapshotEvery = world.spread(500, 20_000);
  const servers = scheme === "redlock" ? drawServers(chances.fork("servers")) : [first];
  const aim = scheme === "redlock" ? new Aim(chances.fork("aim"), servers.length, longest) : undefined;
  for (let at = storm.between(0, 2 * every); at < length; at += storm.between(0, 2 * every)) {
    const fault = drawFault(storm, names);
    steps.push({ at, trouble: aim ? aim.at(at, fault) : fault });
  }
  steps.sort((a, b) => a.at - b.at);
  return { seed, scheme, servers, snapshotEvery, clients, length, steps };
}

function drawServers(chances: Random): ServerPlan[] {
  const size = chances.chance(0.8) ? 3 : 5;
  const offset = (): number => (chances.chance(0.5) ? 0 : chances.between(-5_000, 5_000));
  return Array.from({ length: size }, () => ({ rate: chances.between(0.9995, 1.0005), offset: offset() }));
}

function drawClient(name: string, scheme: SchemeUnderTest, chances: Random): ClientPlan {
  return {
    name,
    rate: chances.between(0.999, 1.001),
    offset: chances.between(-5_000, 5_000),
    // A node of scheme `redlock` has a twentieth of the ttl to answer.
    latency: scheme === "redlock" ? chances.spread(0.1, 4) : chances.spread(0.1, 20),
    jitter: chances.spread(0.1, 5),
    policy: chances.pick(["resend", "reject"] as const),
    tellsServer: chances.chance(0.8),
    turn: chances.pick([1, 16, 16, 3]),
    hitches: chances.chance(0.2) ? chances.spread(1e-4, 1e-2) : 0,
  };
}

/** What every scheme can. */
const WITHOUT_PERMITS: Partial<Record<Verb, number>> = {
  request: 8,
  acquire: 6,
  try: 3,
  steal: 0.5,
  several: 2,
  reenter: 1,
  elect: 2,
  once: 1,
  query: 1,
  force: 0.3,
  close: 0.2,
};

const VERBS: Readonly<Record<SchemeUnderTest, Partial<Record<Verb, number>>>> = {
  lua: {
    request: 8,
    acquire: 6,
    try: 3,
    steal: 0.5,
    permits: 5,
    several: 2,
    reenter: 1,
    elect: 2,
    once: 1,
    "hand over": 1,
    query: 1,
    force: 0.3,
    close: 0.2,
  },
  set: WITHOUT_PERMITS,
  redlock: { ...WITHOUT_PERMITS, once: 0 },
};

interface OperationTerms {
  readonly scheme: SchemeUnderTest;
  readonly name: string;
  readonly names: readonly string[];
  readonly longest: number;
}

function drawOperation(chances: Random, { scheme, name, names, longest }: OperationTerms): Operation {
  const verb = chances.weighted(VERBS[scheme]);
  // Over several servers some hold until a node that was away has come back, and another has forgotten.
  const hold = chances.spread(1, scheme === "redlock" ? Math.max(8_000, longest) : 8_000);
  const ttl = chances.chance(0.3) ? Math.min(30_000, longest) : Math.round(chances.spread(50, LONGEST));
  const base = {
    do: verb,
    hold,
    ttl: scheme === "redlock" ? fitting(ttl, longest) : ttl,
    locks: [chances.pick(["a", "b"])],
  };
  switch (verb) {
    case "request":
    case "acquire":
      return { ...base, ...drawWait(chances, scheme), ...drawDeed(chances, scheme, verb) };
    case "try":
      return { ...base, ...drawDeed(chances, scheme, verb) };
    case "permits":
      return { ...base, ...drawWait(chances, scheme), mode: "shared", locks: ["s"], permits: 1 + chances.below(LIMIT) };
    case "several":
      return { ...base, locks: ["a", "b", "j"].filter(() => chances.chance(0.8)).concat("j") };
    case "reenter":
      return { ...base, locks: ["b"] };
    case "elect":
      return { ...base, locks: ["e"] };
    case "once":
      return { ...base, locks: ["j"], atLeast: chances.spread(1, 10_000) };
    case "hand over":
      return { ...base, heir: chances.pick(names.filter((other) => other !== name)), travel: chances.spread(1, 3_000) };
    case "steal":
    case "query":
    case "force":
    case "close":
      return { ...base, locks: [chances.pick(["a", "b", "e"])], hold: Math.min(hold, 5_000) };
  }
}

/** Between a time in which nodes can answer and the longest. */
function fitting(ttl: number, longest: number): number {
  return Math.min(Math.max(ttl, 200), longest);
}

/** How it waits, if it waits otherwise than for as long as it takes. */
function drawWait(chances: Random, scheme: SchemeUnderTest): Partial<Operation> {
  const wait: { -readonly [K in keyof Operation]?: Operation[K] } = {};
  if (scheme !== "set" && chances.chance(0.25)) wait.mode = "shared";
  if (chances.chance(0.2)) wait.waitTimeout = chances.chance(0.2) ? 0 : Math.round(chances.spread(1, 30_000));
  if (chances.chance(0.1)) wait.abortAfter = chances.spread(1, 10_000);
  if (chances.chance(0.1)) wait.maxHold = Math.round(chances.spread(50, 20_000));
  if (chances.chance(0.1)) wait.renew = false;
  if (scheme !== "set" && chances.chance(0.1)) wait.maxQueue = chances.below(4);
  if (chances.chance(0.1)) wait.watches = true;
  if (chances.chance(0.1)) wait.label = "night";
  return wait;
}

function drawDeed(chances: Random, scheme: SchemeUnderTest, verb: Verb): Partial<Operation> {
  if (!chances.chance(0.25)) return {};
  const deeds: Partial<Record<Deed, number>> = { extend: 3, throw: 1, block: 1 };
  if (scheme !== "set") deeds.downgrade = 2;
  if (verb !== "request") deeds.forget = 1;
  const deed = chances.weighted(deeds);
  return deed === "block" ? { deed, blockFor: chances.spread(10, 5_000) } : { deed };
}

function drawFault(chances: Random, names: readonly string[]): Fault {
  const client = chances.pick(names);
  const fault = chances.weighted({
    crash: 4,
    freeze: 4,
    sleep: 1,
    stall: 3,
    slow: 2,
    break: 8,
    restart: 3,
    "freeze server": 2,
    "clock jump": 1,
    "out of memory": 0.7,
    "read only": 0.7,
    loading: 0.7,
    "forget scripts": 1,
    "foreign holder": 1.5,
    delete: 1,
  });
  switch (fault) {
    case "crash":
      return { fault, client, silent: chances.chance(0.3), back: chances.spread(10, 60_000) };
    case "freeze":
    case "sleep":
      return { fault, client, time: chances.spread(1, 30_000) };
    case "stall":
      return { fault, client, time: chances.spread(1, 30_000) };
    case "slow":
      return { fault, client, time: chances.spread(100, 30_000), factor: chances.spread(2, 50) };
    case "break": {
      const which = chances.pick(["commands", "pushes", "all", "all"] as const);
      const deafFor = chances.chance(0.5) ? 0 : chances.spread(1, 2_000);
      const clientNotices = chances.chance(0.7) ? chances.spread(0.1, 100) : chances.spread(100, 20_000);
      const serverNotices = chances.chance(0.7) ? chances.spread(0.1, 100) : chances.spread(100, 60_000);
      return { fault, client, which, deafFor, clientNotices: Math.max(clientNotices, deafFor), serverNotices };
    }
    case "restart":
      return { fault, memory: chances.pick(["kept", "lost", "old"] as const), down: chances.spread(50, 20_000) };
    case "clock jump":
      return { fault, by: (chances.chance(0.5) ? 1 : -1) * chances.spread(1, 60_000) };
    case "freeze server":
    case "out of memory":
    case "read only":
    case "loading":
      return { fault, time: chances.spread(10, 8_000) };
    case "forget scripts":
      return { fault };
    case "foreign holder":
      return { fault, lock: chances.pick(["a", "b", "e"]), hold: chances.spread(50, 10_000) };
    case "delete":
      return { fault, lock: chances.pick(LOCKS) };
  }
}
