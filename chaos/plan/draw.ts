/** Draws a plan from a seed. Each part has chances of its own, so that leaving one out changes no other. */
import { Random } from "../../simulator/world/random.ts";
import type { ClientPlan, Fault, FaultName, Plan, Step, TopologyName } from "./plan.ts";
import { BUSY } from "./plan.ts";

export interface PlanTerms {
  readonly topology: TopologyName;
  readonly seed: string;
  readonly minutes: number;
  /** Milliseconds without a fault at the end (default: longer than a dead waiter counts as alive). */
  readonly calm?: number;
  /** The last client uses Valkey GLIDE. Not behind Sentinels or on a Cluster, where it finds servers past the proxies. */
  readonly glide?: boolean;
  /** No other faults than these. */
  readonly only?: readonly FaultName[];
  /** Of all managers, in milliseconds (default: drawn). */
  readonly ttl?: number;
}

/** How many servers a topology has that keep locks. */
export const SERVERS: Readonly<Record<TopologyName, number>> = {
  one: 1,
  "one-aof": 1,
  sentinel: 3,
  cluster: 6,
  "redlock-3": 3,
  "redlock-5": 5,
};

const CALM = 26_000;
/** How much faults are drawn together: a storm, then some quiet, in milliseconds. */
const STORM = 40_000;
const LULL = 20_000;
/** From one fault of a storm to the next, on average. */
const PAUSE = 1_100;

export function drawPlan({ topology, seed, minutes, calm = CALM, glide = false, only, ttl }: PlanTerms): Plan {
  const chances = new Random(`${seed}/${topology}`);
  const length = minutes * 60_000;
  const setup = chances.fork("setup");
  const drawn = drawClients(chances.fork("clients"), topology).map((each) => ({ ...each, ttl: ttl ?? each.ttl }));
  const clients = glide ? [...drawn.slice(0, -1), { ...drawn.at(-1)!, library: "glide" as const }] : drawn;
  const storm = chances.fork("storm");
  const weights = only ? Object.fromEntries(only.map((fault) => [fault, 1])) : FAULTS[topology];
  const steps: Step[] = [];
  for (let at = 2_000 + storm.between(0, PAUSE); at < length; at += storm.between(0, 2 * PAUSE)) {
    const fault = drawFault(
      storm,
      weights,
      topology,
      clients.map(({ name }) => name),
    );
    if (at % (STORM + LULL) < STORM) steps.push({ at: Math.round(at), fault });
  }
  const fsync = topology === "one-aof" ? setup.pick(["always", "always", "everysec"] as const) : undefined;
  const replicas = topology === "sentinel" && setup.chance(0.4) ? SERVERS.sentinel - 1 : 0;
  return { topology, seed, length, calm, clients, steps, fsync, replicas };
}

function drawClients(chances: Random, topology: TopologyName): ClientPlan[] {
  const isRedlock = topology.startsWith("redlock");
  return Array.from({ length: 4 }, (_, i) => {
    const name = String.fromCharCode(65 + i);
    const own = chances.fork(name);
    const turn = own.pick([1, 1, 16, 16, 3]);
    return {
      name,
      // Both libraries are in every plan.
      library: i === 0 ? "ioredis" : i === 1 ? "node-redis" : own.pick(["ioredis", "node-redis"] as const),
      turn: isRedlock ? undefined : turn,
      ttl: Math.round(own.spread(isRedlock ? 1_500 : 1_000, 4_000)),
      workers: 6 + own.below(9),
      seed: own.seed,
    };
  });
}

type Weights = Readonly<Partial<Record<FaultName, number>>>;

const CLIENTS: Weights = { "kill client": 3, "freeze client": 4 };
const NETWORK: Weights = { "black hole": 2, "drop replies": 2, reset: 3, refuse: 1.5, delay: 2 };
const SERVER: Weights = { "kill connections": 2, "forget scripts": 1, "freeze server": 2 };

const FAULTS: Readonly<Record<TopologyName, Weights>> = {
  one: { ...CLIENTS, ...NETWORK, ...SERVER, "restart server": 1.5 },
  "one-aof": { ...CLIENTS, ...NETWORK, ...SERVER, "restart server": 3, "fill disk": 1.5, "slow disk": 1 },
  sentinel: {
    ...CLIENTS,
    ...NETWORK,
    "fail over": 1,
    "kill primary": 1.5,
    "zombie primary": 1.5,
    "cut off primary": 1.5,
    "forget scripts": 0.5,
  },
  cluster: {
    ...CLIENTS,
    ...NETWORK,
    "fail over": 1.5,
    "kill primary": 1,
    "zombie primary": 1,
    "cut off primary": 1,
    "move slot": 2,
    "forget scripts": 0.5,
  },
  "redlock-3": { ...CLIENTS, ...NETWORK, ...SERVER, "freeze server": 3, "restart server": 3 },
  "redlock-5": { ...CLIENTS, ...NETWORK, ...SERVER, "freeze server": 4, "restart server": 4 },
};

function drawFault(chances: Random, weights: Weights, topology: TopologyName, clients: readonly string[]): Fault {
  const fault = chances.weighted(weights);
  const server = chances.below(SERVERS[topology]);
  const client = chances.pick(clients);
  switch (fault) {
    case "kill client":
      return { fault, client, time: Math.round(chances.spread(50, 4_000)) };
    case "freeze client": {
      // Half of them for longer than most leases.
      const time = chances.chance(0.5) ? chances.spread(20, 1_000) : chances.between(1_000, 8_000);
      return { fault, client, time: Math.round(time) };
    }
    case "black hole":
    case "drop replies":
    case "refuse":
    case "delay":
      return { fault, ...drawRoute(chances, server, client), time: Math.round(chances.spread(100, 8_000)) };
    case "reset":
      return { fault, ...drawRoute(chances, server, client) };
    case "kill connections":
      return { fault, server, which: chances.pick(["normal", "pubsub"] as const) };
    case "forget scripts":
      return { fault, server };
    case "freeze server":
    case "restart server":
      return { fault, server, time: Math.round(chances.spread(20, 4_000)) };
    case "fill disk":
    case "slow disk":
      return { fault, server, time: Math.round(chances.spread(200, 4_000)) };
    case "fail over":
      return { fault, lock: chances.pick(BUSY) };
    case "kill primary":
    case "zombie primary":
    case "cut off primary":
      return { fault, lock: chances.pick(BUSY), time: Math.round(chances.spread(200, 3_000)) };
    case "move slot":
      return { fault, lock: chances.pick(BUSY) };
  }
}

/** Mostly one client is cut off, from all servers or from one of them; sometimes all clients are. */
function drawRoute(chances: Random, server: number, client: string): { client?: string; server?: number } {
  const kind = chances.weighted({ client: 5, both: 2, server: 2 });
  if (kind === "client") return { client };
  return kind === "both" ? { client, server } : { server };
}

/** A fault in words. */
export function describe({ fault, ...terms }: Fault): string {
  const words = Object.entries(terms).map(([term, value]) => `${term} ${String(value)}${term === "time" ? " ms" : ""}`);
  return [fault, ...words].join(", ");
}

/** A plan in words, one line each. */
export function planLines({ topology, seed, length, clients, steps, fsync, replicas }: Plan): string[] {
  const disk = fsync === undefined ? "" : `, appendfsync ${fsync}`;
  const durable = replicas > 0 ? `, durability of ${replicas} replicas` : "";
  return [
    `topology ${topology}, seed ${seed}, ${length / 60_000} minutes, ${steps.length} faults${disk}${durable}`,
    ...clients.map(
      ({ name, library, turn, ttl, workers }) =>
        `client ${name}: ${library}, ${workers} workers, ttl ${ttl} ms${turn === undefined ? "" : `, turn ${turn}`}`,
    ),
    ...steps.map(({ at, fault }) => `${(at / 1_000).toFixed(1).padStart(7)} s  ${describe(fault)}`),
  ];
}
