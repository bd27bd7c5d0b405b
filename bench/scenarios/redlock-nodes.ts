import { contest, contestant } from "../lib/contest.ts";
import type { Scenario, Stage } from "../lib/scenario.ts";
import { goRound, measureMs, type PairOutcome, type PairRun, warmUpMs } from "./pair.ts";

const name = "redlock-nodes";
const ttl = 10_000;
const servers = 5;
const loops = 256;
const processes = 4;
const waitersEach = 8;

export const redlockNodes: Scenario = {
  name: "redlock-nodes",
  asks:
    "Over 5 servers, of which a majority decides: acquire and release, one lock at a time; 256 loops that do so, each " +
    "its own lock; and 4 processes × 8 waiters on one lock, each again and again, a timer of 1 ms inside",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "p50", title: "p50 µs", better: "less", brief: true },
    { key: "p99", title: "p99 µs", better: "less" },
    { key: "rate", title: "pairs/s of 256", better: "more", brief: true },
    { key: "clientCpu", title: "client CPU µs/pair of 256", better: "less" },
    { key: "contested", title: "grants/s of 32", better: "more", brief: true },
    { key: "jain", title: "Jain", better: "more", brief: true },
    { key: "starved", title: "starved", better: "less", brief: true },
    { key: "wait", title: "wait p50 ms", better: "less" },
    { key: "waitTail", title: "wait p99 ms", better: "less" },
    { key: "commands", title: "run/grant and server", better: "less" },
  ],
  figures: [
    {
      id: "redlock-nodes.p50-vs-redlock5",
      says: "p50 at most 0.7 × redlock 5's",
      column: "p50",
      against: ["redlock5"],
      bound: { atMost: 0.7 },
      tolerance: 0.15,
    },
    {
      id: "redlock-nodes.p50-vs-bare",
      says: "p50 at most 1.4 × that of the bare commands, sent to all and settled by the third answer",
      column: "p50",
      against: ["bare-ioredis"],
      bound: { atMost: 1.4 },
      tolerance: 0.15,
    },
    {
      id: "redlock-nodes.rate-vs-redlock5",
      says: "256 at a time: at least 2 × the pairs per second of redlock 5",
      column: "rate",
      against: ["redlock5"],
      bound: { atLeast: 2 },
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
    looper: goRound,
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
  await looper.end();
  const pairs = {
    p50: alone.p50 * 1_000,
    p99: alone.p99 * 1_000,
    rate: crowded.pairs / (crowded.ms / 1_000),
    clientCpu: crowded.cpu / crowded.pairs,
  };
  // The floor cannot wait.
  if (contender.kind === "floor") return { values: pairs };

  const contestants = await Promise.all(Array.from({ length: processes }, () => stage.hire("contestant", nodes)));
  const { rate, jain, starved, p50, p99, commands } = await contest(
    nodes[0]!,
    contestants,
    mode === "full" ? 4_000 : 1_200,
  );
  return { values: { ...pairs, contested: rate, jain, starved, wait: p50, waitTail: p99, commands } };
}
