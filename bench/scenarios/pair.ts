import type { Session } from "../contenders/index.ts";
import { quantile } from "../lib/statistics.ts";
import type { Figure, Methods, Scenario, Stage } from "../lib/scenario.ts";

const names = 1_024;
const ttl = 10_000;
/** Long enough for V8 to have compiled what counts. */
export const warmUpMs = { full: 1_000, quick: 500 };
export const measureMs = { full: 600, quick: 300 };
const countMs = 100;

export interface PairRun {
  readonly loops: number;
  readonly ms: number;
}

export interface PairOutcome {
  readonly pairs: number;
  readonly ms: number;
  readonly cpu: number;
  readonly p50: number;
  readonly p99: number;
}

export const pair1: Scenario = pair(1, "pair-1", "Acquire and release, one lock at a time, 1,024 names in turn", [
  {
    id: "pair-1.p50-vs-bare",
    says: "p50 at most 1.15 × that of the bare commands on the same client",
    column: "p50",
    against: ["bare-ioredis"],
    bound: { atMost: 1.15 },
    tolerance: 0.15,
  },
]);

export const pair256: Scenario = pair(256, "pair-256", "256 loops that acquire and release, each its own lock", [
  {
    id: "pair-256.rate-vs-bare",
    says: "at least 2.5 × the pairs per second of the bare commands on the same client",
    column: "rate",
    against: ["bare-ioredis"],
    bound: { atLeast: 2.5 },
    tolerance: 0.25,
  },
  {
    id: "pair-256.rate-vs-best-rival",
    says: "at least 3 × the pairs per second of the best rival",
    column: "rate",
    against: "rivals",
    bound: { atLeast: 3 },
    tolerance: 0.25,
  },
  {
    id: "pair-256.client-cpu-vs-bare",
    says: "client CPU per pair at most half of the bare commands'",
    column: "clientCpu",
    against: ["bare-ioredis"],
    bound: { atMost: 0.5 },
    tolerance: 0.25,
  },
]);

function pair(loops: number, name: string, asks: string, figures: readonly Figure[]): Scenario {
  const latencyMatters = loops === 1;
  return {
    name,
    asks,
    rounds: { full: 5, quick: 3 },
    columns: [
      { key: "p50", title: "p50 µs", better: "less", brief: latencyMatters },
      { key: "p99", title: "p99 µs", better: "less", brief: latencyMatters },
      { key: "rate", title: "pairs/s", better: "more", brief: !latencyMatters },
      { key: "clientCpu", title: "client CPU µs/pair", better: "less", brief: true },
      { key: "serverCpu", title: "server CPU µs/pair", better: "less", brief: true },
      { key: "sent", title: "sent/pair", better: "less", brief: true },
      { key: "commands", title: "run/pair", better: "less" },
    ],
    figures,
    takes: () => true,
    measure: (stage) => measure(stage, loops),
    roles: { looper: goRound },
  };
}

async function measure(stage: Stage, loops: number) {
  const looper = await stage.hire("looper");
  const run = (ms: number): Promise<PairOutcome> => looper.call<PairOutcome>("run", { loops, ms } satisfies PairRun);
  await run(warmUpMs[stage.mode]);
  const { result, toll } = await stage.server.during(() => run(measureMs[stage.mode]));
  const { result: counted, traffic } = await stage.server.watch(() => run(countMs));
  return {
    values: {
      p50: result.p50 * 1_000,
      p99: result.p99 * 1_000,
      rate: result.pairs / (result.ms / 1_000),
      clientCpu: result.cpu / result.pairs,
      serverCpu: (toll.cpu * 1_000) / result.pairs,
      commands: toll.commands / result.pairs,
      sent: traffic.sent / counted.pairs,
    },
  };
}

/** Acquires and releases, one lock after the other in every loop. */
export function goRound(session: Session): Methods {
  async function loop(first: number, step: number, end: number, latencies: number[]): Promise<void> {
    for (let i = first; ; i = (i + step) % names) {
      const start = performance.now();
      if (start >= end) return;
      const release = await session.acquire(`pair:${i}`, ttl);
      await release();
      latencies.push(performance.now() - start);
    }
  }

  return {
    async run({ loops, ms }: PairRun): Promise<PairOutcome> {
      const latencies: number[] = [];
      const cpu = process.cpuUsage();
      const start = performance.now();
      const running = Array.from({ length: loops }, (_, i) => loop(i, loops, start + ms, latencies));
      await Promise.all(running);
      const spent = process.cpuUsage(cpu);
      return {
        pairs: latencies.length,
        ms: performance.now() - start,
        cpu: spent.user + spent.system,
        p50: quantile(latencies, 0.5),
        p99: quantile(latencies, 0.99),
      };
    },
  };
}
