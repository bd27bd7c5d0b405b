import type { Session } from "../contenders/index.ts";
import { now, sleepUntil, workFor } from "../lib/clock.ts";
import { randomFrom } from "../lib/random.ts";
import { mean, quantile, sum, waitOfMD1, waitOfPerfectQueue } from "../lib/statistics.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const name = "open-loop";
const ttl = 10_000;
const processes = 4;
const workMs = 5;
const startMs = 100;
const loads = [0.5, 0.8] as const;

interface Run {
  readonly start: number;
  readonly end: number;
  /** Arrivals per millisecond in this process. */
  readonly rate: number;
  readonly seed: number;
  readonly lock: string;
}

interface Outcome {
  readonly arrivals: number[];
  /** Of those still waiting at the end: so far. */
  readonly waits: number[];
  readonly unserved: number;
}

export const openLoop: Scenario = {
  name: "open-loop",
  asks: "Requests arrive at random (Poisson) in 4 processes, 5 ms of work inside; the perfect queue is M/D/1",
  rounds: { full: 3, quick: 1 },
  columns: loads.flatMap((load) => {
    const percent = `${load * 100} %`;
    return [
      { key: `mean${load}`, title: `mean wait ms at ${percent}`, better: "less", brief: true },
      { key: `p99-${load}`, title: `p99 ms at ${percent}`, better: "less", pool: { name: `${load}`, share: 0.99 } },
      { key: `ideal${load}`, title: `same arrivals, perfect queue, ms`, better: "neither", brief: load === 0.5 },
      { key: `vs${load}`, title: `÷ M/D/1 at ${percent}`, better: "less", brief: true },
      { key: `unserved${load}`, title: `unserved at ${percent}`, better: "less" },
    ] as const;
  }),
  figures: [
    {
      id: "open-loop.mean-vs-md1",
      says: "at 50 % load the mean wait at most 2 × that of M/D/1",
      column: "vs0.5",
      bound: { atMost: 2 },
      tolerance: 0.3,
    },
  ],
  // The others poll as redlock 5 does, or nearly; their queues only grow.
  takes: ({ kind, id }) => kind !== "floor" && !["redlock4", "sesamecare", "redlock-universal"].includes(id),
  measure,
  roles: { source },
};

async function measure(stage: Stage) {
  const hired = Array.from({ length: processes }, () => stage.hire("source"));
  const sources = await Promise.all(hired);
  await Promise.all(sources.map((each, i) => each.call("warmUp", i)));
  const values: Record<string, number> = {};
  const pools: Record<string, number[]> = {};
  for (const load of loads) {
    const start = now() + startMs;
    const end = start + (stage.mode === "full" ? 4_000 : 2_000);
    const rate = load / workMs / processes;
    const outcomes = await Promise.all(
      sources.map((each, i) => {
        const seed = (stage.round + 1) * 100 + i;
        return each.call<Outcome>("run", { start, end, rate, seed, lock: `${name}:${load}` } satisfies Run);
      }),
    );
    const arrivals = outcomes.flatMap((outcome) => outcome.arrivals);
    const waits = outcomes.flatMap((outcome) => outcome.waits);
    pools[`${load}`] = waits;
    values[`mean${load}`] = mean(waits);
    values[`ideal${load}`] = waitOfPerfectQueue(arrivals, workMs);
    values[`vs${load}`] = mean(waits) / waitOfMD1(load, workMs);
    values[`unserved${load}`] = sum(outcomes.map((outcome) => outcome.unserved));
    values[`p99-${load}`] = quantile(waits, 0.99);
  }
  return { values, pools };
}

function source(session: Session): Methods {
  async function run({ start, end, rate, seed, lock }: Run): Promise<Outcome> {
    const random = randomFrom(seed);
    const arrivals: number[] = [];
    const waits: number[] = [];
    const waiting = new Set<number>();

    async function visit(arrival: number): Promise<void> {
      arrivals.push(arrival);
      waiting.add(arrival);
      const release = await session.acquire(lock, ttl);
      waiting.delete(arrival);
      if (now() < end) waits.push(now() - arrival);
      await workFor(workMs);
      await release();
    }

    let due = start;
    for (;;) {
      due += -Math.log(1 - random()) / rate;
      if (due >= end) break;
      await sleepUntil(due);
      // A timer's own lateness is no wait; being kept from running by the contender is.
      void visit(Math.min(now(), due + 2));
    }
    await sleepUntil(end);
    for (const arrival of waiting) waits.push(end - arrival);
    return { arrivals, waits, unserved: waiting.size };
  }

  return {
    run,
    async warmUp(index: number): Promise<void> {
      for (let i = 0; i < 50; i++) await (await session.acquire(`warm-up:${index}`, ttl))();
    },
  };
}
