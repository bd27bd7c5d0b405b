import { randomUUID } from "node:crypto";
import type { Release, Session } from "../contenders/index.ts";
import { now, sleep } from "../lib/clock.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const counts = { full: 100_000, quick: 20_000 };
const ttl = 30_000;
/** More than a whole ttl after the first grant, so that every lease has had to be renewed to be there at the end. */
const windowMs = { full: 32_000, quick: 11_000 };
const batch = 1_000;

interface Heap {
  readonly bytes: number;
}

interface Spending {
  readonly cpu: number;
  readonly ms: number;
}

export const held: Scenario = {
  name: "held",
  asks: "Many locks held at once by one process (100,000; quick: 20,000), ttl 30 s, renewed: what holding costs",
  rounds: { full: 1, quick: 1 },
  columns: [
    { key: "count", title: "held", better: "neither" },
    { key: "lost", title: "lost", better: "less", brief: true },
    { key: "clientShare", title: "client, % of a core", better: "less", brief: true },
    { key: "serverShare", title: "server, % of a core", better: "less", brief: true },
    { key: "heap", title: "heap bytes/lock", better: "less", brief: true },
    { key: "memory", title: "server bytes/lock", better: "less", brief: true },
    { key: "bareMemory", title: "bare key bytes", better: "neither" },
    { key: "acquireMs", title: "ms to take all", better: "less" },
    { key: "lateness", title: "event loop held up, ms at most", better: "less" },
  ],
  figures: [
    {
      id: "held.lost",
      says: "of all held locks none is lost",
      column: "lost",
      bound: { atMost: 0 },
      tolerance: 0,
    },
    {
      id: "held.heap",
      says: "a held lock takes at most 700 bytes of the client's heap",
      column: "heap",
      bound: { atMost: 700 },
      tolerance: 0.1,
    },
    {
      id: "held.client-share",
      says: "keeping 100,000 leases costs the client at most 8 % of a core",
      column: "clientShare",
      bound: { atMost: 8 },
      tolerance: 0.5,
    },
  ],
  takes: ({ kind }) => kind === "holdfast",
  measure,
  roles: { hoarder: hold },
};

async function measure(stage: Stage) {
  const { server, mode } = stage;
  const count = counts[mode];
  const bareMemory = await memoryOfBareKeys(server, count);
  const hoarder = await stage.hire("hoarder");
  const empty = await server.memory();
  const before = await hoarder.call<Heap>("heap");
  const expiredBefore = await server.expiredKeys();
  const acquireMs = await hoarder.call<number>("hoard", count);
  const after = await hoarder.call<Heap>("heap");
  const memory = await server.memory();
  const { result, toll } = await server.during(() =>
    hoarder.call<Spending & { lateness: number }>("keep", windowMs[mode]),
  );
  // Fences outlive their locks by an hour, so what expires within the window can only be leases.
  const expired = (await server.expiredKeys()) - expiredBefore;
  const lost = await hoarder.call<number>("lost");
  return {
    values: {
      count,
      lost: Math.max(lost, expired),
      clientShare: (100 * result.cpu) / 1_000 / result.ms,
      serverShare: (100 * toll.cpu) / result.ms,
      heap: (after.bytes - before.bytes) / count,
      memory: (memory - empty) / count,
      bareMemory,
      acquireMs,
      lateness: result.lateness,
    },
  };
}

async function memoryOfBareKeys(server: Stage["server"], count: number): Promise<number> {
  const empty = await server.memory();
  await server.fill(count, () => randomUUID(), 600_000);
  const full = await server.memory();
  await server.clear();
  return (full - empty) / count;
}

function hold(session: Session): Methods {
  const releases: Release[] = [];

  return {
    async hoard(count: number): Promise<number> {
      const start = now();
      while (releases.length < count) {
        const acquired = Array.from({ length: batch }, (_, i) => session.acquire(`held:${releases.length + i}`, ttl));
        releases.push(...(await Promise.all(acquired)));
      }
      return now() - start;
    },

    heap(): Heap {
      gc!();
      gc!();
      return { bytes: process.memoryUsage().heapUsed };
    },

    async keep(ms: number): Promise<Spending & { lateness: number }> {
      const cpu = process.cpuUsage();
      const start = now();
      let lateness = 0;
      let last = start;
      const tick = setInterval(() => {
        lateness = Math.max(lateness, now() - last - 10);
        last = now();
      }, 10);
      await sleep(ms);
      clearInterval(tick);
      const spent = process.cpuUsage(cpu);
      return { cpu: spent.user + spent.system, ms: now() - start, lateness };
    },

    /** Releases answer whether the lock was held until then. */
    async lost(): Promise<number> {
      let lost = 0;
      while (releases.length > 0) {
        const answers = await Promise.all(releases.splice(-batch).map((release) => release()));
        lost += answers.filter((answer) => answer !== true).length;
      }
      return lost;
    },
  };
}
