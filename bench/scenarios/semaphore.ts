import type { Release, Session } from "../contenders/index.ts";
import { contest, contestant } from "../lib/contest.ts";
import { median } from "../lib/statistics.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const name = "semaphore";
const limit = 10;
const ttl = 10_000;
const processes = 4;
const workersEach = 50;
/** What a semaphore is for takes its time. With 1 ms of work the two cores are busy before the permits are. */
const workMs = 100;

/** For pairs, taken in turn: a lock, and permits of semaphores that so many others hold, with room for all. */
const roomy = 20_000;
const few = 10;
const many = 10_000;
/** So long that no holder renews while we measure. */
const longTtl = 600_000;
const batch = 1_000;

export const semaphore: Scenario = {
  name: "semaphore",
  asks:
    "10 permits: 4 processes × 50 workers want one again and again, a timer of 100 ms inside. Then one at a time, in " +
    "turn: a lock, a permit that nobody else wants, and permits of semaphores with 10 and with 10,000 other holders",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "utilisation", title: "permits in use %", better: "more", brief: true },
    { key: "jain", title: "Jain", better: "more", brief: true },
    { key: "starved", title: "starved", better: "less" },
    { key: "wait", title: "wait p50 ms", better: "less" },
    { key: "tail", title: "p99 / p50", better: "less" },
    { key: "rate", title: "grants/s", better: "more", brief: true },
    { key: "sent", title: "sent/grant", better: "less" },
    { key: "commands", title: "run/grant", better: "less" },
    { key: "clientCpu", title: "client CPU µs/grant", better: "less" },
    { key: "serverCpu", title: "server CPU µs/grant", better: "less" },
    { key: "lock", title: "lock p50 µs", better: "less" },
    { key: "alone", title: "permit p50 µs", better: "less", brief: true },
    { key: "aloneRatio", title: "permit / lock", better: "less", brief: true },
    { key: "many", title: "of 10,000 p50 µs", better: "less" },
    { key: "manyRatio", title: "10,000 / 10 holders", better: "less", brief: true },
  ],
  figures: [
    {
      id: "semaphore.utilisation",
      says: "permits that are wanted are in use at least 95 % of the time",
      column: "utilisation",
      bound: { atLeast: 95 },
      tolerance: 0.1,
    },
    {
      id: "semaphore.jain",
      says: "Jain's index of the 200 workers' grants at least 0.98",
      column: "jain",
      bound: { atLeast: 0.98 },
      tolerance: 0.01,
    },
    {
      id: "semaphore.starved",
      says: "no worker without a permit",
      column: "starved",
      bound: { atMost: 0 },
      tolerance: 0,
    },
    {
      id: "semaphore.p50-vs-lock",
      says: "p50 of a permit, alone, at most 1.5 × that of a lock",
      column: "aloneRatio",
      bound: { atMost: 1.5 },
      tolerance: 0.15,
    },
    {
      id: "semaphore.p50-of-many",
      says: "p50 of a permit beside 10,000 other holders at most 1.5 × that beside 10",
      column: "manyRatio",
      bound: { atMost: 1.5 },
      tolerance: 0.15,
    },
  ],
  takes: ({ id }) => id === "holdfast" || id === "redis-semaphore",
  measure,
  roles: {
    worker: (session) => contestant(workersEach, () => session.extras!.acquirePermit!(name, limit, ttl), workMs),
    hoarder: hoard,
    looper: goRound,
  },
};

type Medians = Readonly<Record<"lock" | "alone" | "few" | "many", number>>;

async function measure(stage: Stage) {
  const [full, quick] = [stage.mode === "full", stage.mode === "quick"];
  const workers = await Promise.all(Array.from({ length: processes }, () => stage.hire("worker")));
  const contested = await contest(stage.server, workers, full ? 12_000 : 6_000);
  await Promise.all(workers.map((each) => each.end()));

  const [hoarder, looper] = await Promise.all([stage.hire("hoarder"), stage.hire("looper")]);
  await hoarder.call("hold", { name: "few", count: few });
  await hoarder.call("hold", { name: "many", count: many });
  await looper.call("run", quick ? 500 : 1_000);
  const p50 = await looper.call<Medians>("run", quick ? 800 : 2_000);
  return {
    values: {
      ...contested,
      wait: contested.p50,
      utilisation: contested.utilisation / limit,
      lock: p50.lock,
      alone: p50.alone,
      aloneRatio: p50.alone / p50.lock,
      many: p50.many,
      manyRatio: p50.many / p50.few,
    },
  };
}

function hoard(session: Session): Methods {
  return {
    async hold({ name: hoarded, count }: { name: string; count: number }): Promise<void> {
      const acquire = (): Promise<Release> => session.extras!.acquirePermit!(hoarded, roomy, longTtl);
      for (let held = 0; held < count; held += batch) {
        await Promise.all(Array.from({ length: Math.min(batch, count - held) }, acquire));
      }
    },
  };
}

function goRound(session: Session): Methods {
  const permit = (of: string) => (): Promise<Release> => session.extras!.acquirePermit!(of, roomy, ttl);
  const kinds: [keyof Medians, () => Promise<Release>][] = [
    ["lock", () => session.acquire("lock", ttl)],
    ["alone", permit("alone")],
    ["few", permit("few")],
    ["many", permit("many")],
  ];

  return {
    /** Microseconds. In turn, so that a drift of the machine meets all of them. */
    async run(ms: number): Promise<Medians> {
      const latencies = { lock: [] as number[], alone: [] as number[], few: [] as number[], many: [] as number[] };
      for (const end = performance.now() + ms; performance.now() < end;) {
        for (const [kind, acquire] of kinds) {
          const start = performance.now();
          const release = await acquire();
          await release();
          latencies[kind].push(1_000 * (performance.now() - start));
        }
      }
      const { lock, alone, few: beside10, many: besideMany } = latencies;
      return { lock: median(lock), alone: median(alone), few: median(beside10), many: median(besideMany) };
    },
  };
}
