import type { Session } from "../contenders/index.ts";
import { contest, contestant } from "../lib/contest.ts";
import type { Methods, Player, Scenario, Stage } from "../lib/scenario.ts";
import type { Server } from "../lib/server.ts";
import { goRound, measureMs, type PairOutcome, type PairRun, warmUpMs } from "./pair.ts";

const name = "redlock-nodes";
const ttl = 10_000;
const servers = 5;
const loops = 256;
const processes = 4;
const waitersEach = 8;
const hoardMs = { full: 3_000, quick: 1_000 };

export const redlockNodes: Scenario = {
  name: "redlock-nodes",
  asks:
    "Over 5 servers, of which a majority decides: acquire and release, one lock at a time; 256 loops that do so, each " +
    "its own lock; one at a time again, and 256, while one server hangs; and 4 processes × 8 waiters on one lock, each " +
    "again and again, a timer of 1 ms inside",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "p50", title: "p50 µs", better: "less", brief: true },
    { key: "p99", title: "p99 µs", better: "less" },
    { key: "rate", title: "pairs/s of 256", better: "more", brief: true },
    { key: "clientCpu", title: "client CPU µs/pair of 256", better: "less" },
    { key: "hung", title: "p50, one hangs / none", better: "less" },
    { key: "hoard", title: "heap MB/s, one hangs", better: "less" },
    { key: "contested", title: "grants/s of 32", better: "more", brief: true },
    { key: "jain", title: "Jain", better: "more", brief: true },
    { key: "starved", title: "starved", better: "less", brief: true },
    { key: "wait", title: "wait p50 ms", better: "less" },
    { key: "waitTail", title: "wait p99 / p50", better: "less" },
    { key: "commands", title: "run/grant and server", better: "less" },
  ],
  figures: [
    {
      id: "redlock-nodes.p50-vs-redlock5",
      says: "p50 at most 1.1 × redlock 5's",
      column: "p50",
      against: ["redlock5"],
      bound: { atMost: 1.1 },
      tolerance: 0.15,
    },
    {
      id: "redlock-nodes.p50-vs-bare",
      says: "p50 at most 1.3 × that of the bare commands, sent to a majority",
      column: "p50",
      against: ["bare-ioredis"],
      bound: { atMost: 1.3 },
      tolerance: 0.15,
    },
    {
      id: "redlock-nodes.rate-vs-redlock5",
      says: "256 at a time: at least 4 × the pairs per second of redlock 5",
      column: "rate",
      against: ["redlock5"],
      bound: { atLeast: 4 },
      tolerance: 0.25,
    },
    {
      id: "redlock-nodes.hung",
      says: "while one server hangs, p50 at most 1.2 × that with all five",
      column: "hung",
      bound: { atMost: 1.2 },
      tolerance: 0.25,
    },
    {
      id: "redlock-nodes.hoard",
      says: "while one server hangs, the heap grows by at most 1 MB a second",
      column: "hoard",
      bound: { atMost: 1 },
      tolerance: 1,
    },
    {
      id: "redlock-nodes.contested",
      says: "at least 400 grants a second of 32 waiters in 4 processes",
      column: "contested",
      bound: { atLeast: 400 },
      tolerance: 0.25,
    },
    {
      id: "redlock-nodes.jain",
      says: "Jain at least 0.99",
      column: "jain",
      bound: { atLeast: 0.99 },
      tolerance: 0.01,
    },
    {
      id: "redlock-nodes.tail",
      says: "p99 of the waits at most 1.5 × their median",
      column: "waitTail",
      bound: { atMost: 1.5 },
      tolerance: 0.25,
    },
    {
      id: "redlock-nodes.starved",
      says: "no waiter without a grant",
      column: "starved",
      bound: { atMost: 0 },
      tolerance: 0,
    },
  ],
  takes: ({ loadNodes }) => loadNodes !== undefined,
  measure,
  roles: {
    looper,
    contestant: (session) => contestant(waitersEach, () => session.acquire(name, ttl)),
  },
};

async function measure(stage: Stage) {
  const { mode, contender } = stage;
  const nodes = await stage.nodes(servers);
  const looper = await stage.hire("looper", nodes);
  const run = (at: number, ms: number): Promise<PairOutcome> =>
    looper.call<PairOutcome>("run", { loops: at, ms } satisfies PairRun);
  await run(1, warmUpMs[mode]);
  const alone = await run(1, measureMs[mode]);
  await run(loops, warmUpMs[mode]);
  const crowded = await run(loops, measureMs[mode]);
  const pairs = {
    p50: alone.p50 * 1_000,
    p99: alone.p99 * 1_000,
    rate: crowded.pairs / (crowded.ms / 1_000),
    clientCpu: crowded.cpu / crowded.pairs,
  };
  // The floor can neither wait nor do without one of those that it has asked.
  if (contender.kind === "floor") {
    await looper.end();
    return { values: pairs };
  }
  const { p50: hungP50, hoard } = await whileOneHangs(stage.mode, looper, nodes.at(-1) as Server);
  await looper.end();
  const hung = hungP50 / alone.p50;

  const contestants = await Promise.all(Array.from({ length: processes }, () => stage.hire("contestant", nodes)));
  const { rate, jain, starved, p50, tail, commands } = await contest(
    nodes[0]!,
    contestants,
    mode === "full" ? 4_000 : 1_200,
  );
  return { values: { ...pairs, hung, hoard, contested: rate, jain, starved, wait: p50, waitTail: tail, commands } };
}

/** The server at the end is thawed when the clients are gone, so that it has no work of theirs left. */
async function whileOneHangs(
  mode: Stage["mode"],
  looper: Player,
  server: Server,
): Promise<{ p50: number; hoard: number }> {
  const run = (at: number, ms: number): Promise<PairOutcome> =>
    looper.call<PairOutcome>("run", { loops: at, ms } satisfies PairRun);
  server.freeze();
  try {
    await run(1, warmUpMs[mode]);
    const { p50 } = await run(1, measureMs[mode]);
    const before = await looper.call<number>("heap");
    const { ms } = await run(loops, hoardMs[mode]);
    return { p50, hoard: ((await looper.call<number>("heap")) - before) / 1e6 / (ms / 1_000) };
  } finally {
    server.thaw();
  }
}

function looper(session: Session): Methods {
  const heap = (): number => {
    globalThis.gc?.();
    return process.memoryUsage().heapUsed;
  };
  return { ...goRound(session), heap: () => Promise.resolve(heap()) };
}
