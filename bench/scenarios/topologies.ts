import { startCluster, startReplicated, startSentinels } from "../../scripts/topologies.ts";
import type { Place, Places, Session } from "../contenders/index.ts";
import { quantile } from "../lib/statistics.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";

const names = 1_024;
const ttl = 10_000;
const sliceMs = 60;
const slices = { full: 40, quick: 10 };
/** Slices that V8 has to itself. */
const warmUps = { full: 8, quick: 4 };

interface Survey {
  readonly places: readonly (readonly [title: string, Place])[];
  readonly slices: number;
}

/** Places in one process, in turn, slice by slice: what the machine does meanwhile meets all of them. */
export const topologies: Scenario = {
  name: "topologies",
  asks:
    "Acquire and release, one lock at a time, 1,024 names in turn: on one server, through Sentinels, on a Cluster of " +
    "3, on a primary with one replica with and without waiting for it (durability: { replicas: 1 }), and over 3 and 5 " +
    "servers by majority; and bare SET and WAIT 1, sent as one. All in one process, by turns of 60 ms",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "one", title: "one server p50 µs", better: "less", brief: true },
    { key: "sentinel", title: "Sentinel p50 µs", better: "less", brief: true },
    { key: "cluster", title: "Cluster p50 µs", better: "less", brief: true },
    { key: "clusterRatio", title: "Cluster / one", better: "less" },
    { key: "plain", title: "with a replica p50 µs", better: "less" },
    { key: "durable", title: "durable p50 µs", better: "less", brief: true },
    { key: "wait", title: "bare SET + WAIT p50 µs", better: "less" },
    { key: "waits", title: "dearer, in WAITs", better: "less" },
    { key: "redlock3", title: "redlock of 3 p50 µs", better: "less", brief: true },
    { key: "redlock5", title: "redlock of 5 p50 µs", better: "less", brief: true },
  ],
  figures: [
    {
      id: "topologies.cluster-vs-one",
      says: "Cluster of 3: p50 at most 1.15 × that of one server",
      column: "clusterRatio",
      bound: { atMost: 1.15 },
      tolerance: 0.1,
    },
    {
      id: "topologies.durable-vs-wait",
      says: "a pair whose grant waits for a replica is dearer by at most one WAIT",
      column: "waits",
      bound: { atMost: 1 },
      tolerance: 0.25,
    },
  ],
  takes: ({ id }) => id === "holdfast",
  measure,
  roles: { surveyor: survey },
};

async function measure(stage: Stage) {
  await using cluster = await startCluster({ masters: 3, replicasEach: 0 });
  await using sentinels = await startSentinels();
  await using replicated = await startReplicated(1);
  const nodes = (await stage.nodes(5)).map(({ url }) => url);
  const { url } = replicated.master;
  const surveyor = await stage.hire("surveyor");
  const { mode } = stage;
  const p50 = await surveyor.call<Record<string, number>>("run", {
    places: [
      ["one", { kind: "one", url: stage.server.url }],
      ["sentinel", { kind: "sentinel", addresses: sentinels.addresses, name: sentinels.name }],
      ["cluster", { kind: "cluster", addresses: cluster.seeds }],
      ["plain", { kind: "one", url }],
      ["durable", { kind: "durable", url }],
      ["wait", { kind: "wait", url }],
      ["redlock3", { kind: "redlock", urls: nodes.slice(0, 3) }],
      ["redlock5", { kind: "redlock", urls: nodes }],
    ],
    slices: slices[mode],
  } satisfies Survey);
  const { one, cluster: many, plain, durable, wait } = p50 as Record<string, number> & { one: number };
  return { values: { ...p50, clusterRatio: many! / one, waits: (durable! - plain!) / wait! } };
}

function survey(session: Session): Methods {
  const { open } = session.extras as { open: Places };

  return {
    /** Of each place, the median in microseconds. */
    async run({ places, slices: count }: Survey): Promise<Record<string, number>> {
      const latencies = new Map<string, number[]>(places.map(([title]) => [title, []]));
      const opened = await Promise.all(places.map(async ([title, place]) => [title, await open(place)] as const));
      let next = 0;
      for (let slice = -warmUps[count === slices.full ? "full" : "quick"]; slice < count; slice++) {
        for (const [title, { acquire }] of opened) {
          const own = latencies.get(title)!;
          const end = performance.now() + sliceMs;
          for (let start = performance.now(); start < end; start = performance.now()) {
            const release = await acquire(`pair:${next++ % names}`, ttl);
            await release();
            if (slice >= 0) own.push(performance.now() - start);
          }
        }
      }
      return Object.fromEntries([...latencies].map(([title, all]) => [title, quantile(all, 0.5) * 1_000]));
    },
  };
}
