import type { Session } from "../contenders/index.ts";
import { now, sleep } from "../lib/clock.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const waiters = 1_000;
const ttl = 60_000;
/** Time for the requests to reach the server before the lock is let go. */
const gatherMs = 300;

interface Outcome {
  readonly served: number;
  readonly crowds: number;
  /** From the release that lets the first one in until the last one was served, or time was over. */
  readonly ms: number;
  readonly cpu: number;
}

export const crowd: Scenario = {
  name: "crowd",
  asks: "1,000 waiters of one process on one lock, no work inside: how fast is the crowd served, once it is let in",
  rounds: { full: 3, quick: 2 },
  columns: [
    { key: "rate", title: "grants/s", better: "more", brief: true },
    { key: "served", title: "of 1,000 served", better: "more", brief: true },
    { key: "clientCpu", title: "client CPU µs/grant", better: "less", brief: true },
    { key: "serverCpu", title: "server CPU µs/grant", better: "less", brief: true },
    { key: "commands", title: "run/grant", better: "less", brief: true },
  ],
  figures: [
    {
      id: "crowd.rate-vs-best-rival",
      says: "at least 20 × the grants per second of the best rival",
      column: "rate",
      against: "rivals",
      bound: { atLeast: 20 },
      tolerance: 0.4,
    },
  ],
  takes: ({ kind }) => kind !== "floor",
  measure,
  roles: { host },
};

async function measure(stage: Stage) {
  const player = await stage.hire("host");
  const ms = stage.mode === "full" ? 2_000 : 800;
  const { result, toll } = await stage.server.during(() => player.call<Outcome>("run", ms));
  return {
    values: {
      rate: result.served / (result.ms / 1_000),
      served: Math.min(waiters, result.served / result.crowds),
      clientCpu: result.cpu / result.served,
      serverCpu: (toll.cpu * 1_000) / result.served,
      commands: toll.commands / result.served,
    },
  };
}

function host(session: Session): Methods {
  /** One crowd after another until the time is over, each on a lock of its own. */
  async function run(ms: number): Promise<Outcome> {
    const cpu = process.cpuUsage();
    const total = { served: 0, crowds: 0, ms: 0 };
    for (const end = now() + ms; total.crowds === 0 || now() < end;) {
      const one = await serve(`crowd:${total.crowds}`, ms);
      total.crowds++;
      total.served += one.served;
      total.ms += one.ms;
    }
    const spent = process.cpuUsage(cpu);
    return { ...total, cpu: spent.user + spent.system };
  }

  async function serve(name: string, bound: number): Promise<{ served: number; ms: number }> {
    let served = 0;
    const letIn = await session.acquire(name, ttl);
    const visits = Array.from({ length: waiters }, async () => {
      const release = await session.acquire(name, ttl);
      served++;
      await release();
    });
    await sleep(gatherMs);
    const start = now();
    const all = letIn().then(() => Promise.all(visits));
    await Promise.race([all, sleep(bound)]);
    return { served, ms: now() - start };
  }

  return { run };
}
