import type { Session } from "../contenders/index.ts";
import { now, sleep, sleepUntil } from "../lib/clock.ts";
import { jain, quantile, sum } from "../lib/statistics.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const name = "fairness";
const ttl = 10_000;
const processes = 4;
const waitersEach = 8;
const workMs = 1;
const startMs = 100;
const warmUpMs = 400;
const countMs = 300;

/** All three are instants; grants count from `begin` to `end`, and are only counted, under MONITOR, from there to `stop`. */
interface Run {
  readonly start: number;
  readonly begin: number;
  readonly end: number;
  readonly stop: number;
}

interface Outcome {
  /** Per waiter. */
  readonly grants: number[];
  readonly waits: number[];
  /** Milliseconds from grants to the calls of release. */
  readonly held: number;
  readonly cpu: number;
  readonly counted: number;
}

export const fairness: Scenario = {
  name: "fairness",
  asks: "4 processes × 8 waiters on one lock, each again and again, a timer of 1 ms inside",
  rounds: { full: 3, quick: 2 },
  columns: [
    { key: "jain", title: "Jain", better: "more", brief: true },
    { key: "starved", title: "starved", better: "less" },
    { key: "p50", title: "wait p50 ms", better: "less", brief: true },
    { key: "p99", title: "wait p99 ms", better: "less", brief: true },
    { key: "tail", title: "p99 / p50", better: "less" },
    { key: "rate", title: "grants/s", better: "more" },
    { key: "utilisation", title: "in use %", better: "more", brief: true },
    { key: "sent", title: "sent/grant", better: "less", brief: true },
    { key: "commands", title: "run/grant", better: "less" },
    { key: "clientCpu", title: "client CPU µs/grant", better: "less" },
    { key: "serverCpu", title: "server CPU µs/grant", better: "less" },
  ],
  figures: [
    {
      id: "fairness.jain",
      says: "Jain's index of the 32 waiters' grants at least 0.99",
      column: "jain",
      bound: { atLeast: 0.99 },
      tolerance: 0.01,
    },
    {
      id: "fairness.starved",
      says: "no waiter without a grant",
      column: "starved",
      bound: { atMost: 0 },
      tolerance: 0,
    },
    {
      id: "fairness.tail",
      says: "99th percentile of the wait at most 1.5 × its median",
      column: "tail",
      bound: { atMost: 1.5 },
      tolerance: 0.25,
    },
    {
      id: "fairness.utilisation",
      says: "the lock in use at least 85 % of the time",
      column: "utilisation",
      bound: { atLeast: 85 },
      tolerance: 0.1,
    },
  ],
  takes: ({ kind }) => kind !== "floor",
  measure,
  roles: { contestant },
};

async function measure(stage: Stage) {
  const hired = Array.from({ length: processes }, () => stage.hire("contestant"));
  const contestants = await Promise.all(hired);
  const ms = stage.mode === "full" ? 4_000 : 1_200;
  const start = now() + startMs;
  const begin = start + warmUpMs;
  const run: Run = { start, begin, end: begin + ms, stop: begin + ms + countMs };

  const outcomes = Promise.all(contestants.map((each) => each.call<Outcome>("run", run)));
  await sleepUntil(run.begin);
  const { toll } = await stage.server.during(() => sleepUntil(run.end));
  const { traffic } = await stage.server.watch(() => sleepUntil(run.stop));

  const all = await outcomes;
  const grants = all.flatMap((outcome) => outcome.grants);
  const waits = all.flatMap((outcome) => outcome.waits);
  const granted = sum(grants);
  const p50 = quantile(waits, 0.5);
  const p99 = quantile(waits, 0.99);
  return {
    values: {
      jain: jain(grants),
      starved: grants.filter((count) => count === 0).length,
      p50,
      p99,
      tail: p99 / p50,
      rate: granted / (ms / 1_000),
      utilisation: (100 * sum(all.map((outcome) => outcome.held))) / ms,
      commands: toll.commands / granted,
      serverCpu: (toll.cpu * 1_000) / granted,
      clientCpu: sum(all.map((outcome) => outcome.cpu)) / granted,
      sent: traffic.sent / sum(all.map((outcome) => outcome.counted)),
    },
  };
}

function contestant(session: Session): Methods {
  const since: (number | undefined)[] = [];
  const outcome = { grants: Array.from({ length: waitersEach }, () => 0), waits: [] as number[], held: 0, counted: 0 };

  async function compete(waiter: number, { begin, end, stop }: Run): Promise<void> {
    for (let requested = now(); requested < stop; requested = now()) {
      since[waiter] = requested;
      const release = await session.acquire(name, ttl);
      const granted = now();
      since[waiter] = undefined;
      await sleep(workMs);
      outcome.held += Math.max(0, Math.min(now(), end) - Math.max(granted, begin));
      if (granted >= begin && granted < end) {
        outcome.grants[waiter]!++;
        outcome.waits.push(granted - requested);
      } else if (granted >= end) {
        outcome.counted++;
      }
      await release();
    }
  }

  return {
    async run(run: Run): Promise<Outcome> {
      await sleepUntil(run.start);
      for (let waiter = 0; waiter < waitersEach; waiter++) void compete(waiter, run);
      await sleepUntil(run.begin);
      const cpu = process.cpuUsage();
      await sleepUntil(run.end);
      const spent = process.cpuUsage(cpu);
      // Who still waits has waited at least this long. Left out, starving would look quick.
      for (const requested of since) if (requested !== undefined) outcome.waits.push(now() - requested);
      await sleepUntil(run.stop);
      return { ...outcome, cpu: spent.user + spent.system };
    },
  };
}
