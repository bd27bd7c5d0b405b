// Many waiters in several processes, who want the same again and again.
import type { Release } from "../contenders/index.ts";
import { now, sleep, sleepUntil } from "./clock.ts";
import type { Methods, Player } from "./scenario.ts";
import type { Server } from "./server.ts";
import { jain, quantile, sum } from "./statistics.ts";

const startMs = 100;
const warmUpMs = 400;
const countMs = 300;

/** All are instants; grants count from `begin` to `end`, and are only counted, under MONITOR, from there to `stop`. */
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

/** `utilisation` is in percent of one holder's time; `commands`, `sent` and CPU are per grant. */
export async function contest(server: Server, contestants: readonly Player[], ms: number) {
  const start = now() + startMs;
  const begin = start + warmUpMs;
  const run: Run = { start, begin, end: begin + ms, stop: begin + ms + countMs };

  const outcomes = Promise.all(contestants.map((each) => each.call<Outcome>("run", run)));
  await sleepUntil(run.begin);
  const { toll } = await server.during(() => sleepUntil(run.end));
  const { traffic } = await server.watch(() => sleepUntil(run.stop));

  const all = await outcomes;
  const grants = all.flatMap((outcome) => outcome.grants);
  const waits = all.flatMap((outcome) => outcome.waits);
  const granted = sum(grants);
  const p50 = quantile(waits, 0.5);
  const p99 = quantile(waits, 0.99);
  return {
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
  };
}

/** One of the processes, with so many waiters. */
export function contestant(waiters: number, acquire: () => Promise<Release>, workMs = 1): Methods {
  const since: (number | undefined)[] = [];
  const outcome = { grants: Array.from({ length: waiters }, () => 0), waits: [] as number[], held: 0, counted: 0 };

  async function compete(waiter: number, { begin, end, stop }: Run): Promise<void> {
    for (let requested = now(); requested < stop; requested = now()) {
      since[waiter] = requested;
      const release = await acquire();
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
      for (let waiter = 0; waiter < waiters; waiter++) void compete(waiter, run);
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
