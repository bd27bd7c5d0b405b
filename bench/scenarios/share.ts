import type { Release, Session } from "../contenders/index.ts";
import { now, sleep, sleepUntil } from "../lib/clock.ts";
import { median } from "../lib/statistics.ts";
import type { Methods, Player, Scenario, Stage } from "../lib/scenario.ts";

const processes = 4;
const askersEach = 250;
const computeMs = 100;
const ttl = 60_000;

export const share: Scenario = {
  name: "share",
  asks:
    "share(): 1,000 askers in 4 processes ask for one value at the same instant; one computes for 100 ms; from the end of " +
    "its computation until each of the others has the value. Then handoffs of a lock between two of these processes",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "computations", title: "computations a flight", better: "less", brief: true },
    { key: "published", title: "pushes to a process", better: "less", brief: true },
    { key: "p50", title: "served p50 ms", better: "less", pool: { name: "served", share: 0.5 }, brief: true },
    { key: "p99", title: "served p99 ms", better: "less", pool: { name: "served", share: 0.99 }, brief: true },
    { key: "longest", title: "served, longest ms", better: "less", pool: { name: "served", share: 1 } },
    { key: "handoff", title: "handoff p50 ms", better: "less", brief: true },
    { key: "flights", title: "flights a round", better: "neither" },
  ],
  figures: [
    {
      id: "share.computations",
      says: "one computation for 1,000 askers",
      column: "computations",
      bound: { atMost: 1 },
      tolerance: 0,
    },
    {
      id: "share.pushes",
      says: "each process that waits is served with at most two pushes",
      column: "published",
      bound: { atMost: 2 },
      tolerance: 0,
    },
  ],
  takes: ({ kind }) => kind === "holdfast",
  measure,
  roles: { asker },
};

interface Flight {
  /** When computations ended here. */
  readonly made: readonly number[];
  /** When each asker had the value. */
  readonly served: readonly number[];
}

async function measure(stage: Stage) {
  const players = await Promise.all(Array.from({ length: processes }, () => stage.hire("asker")));
  const served: number[] = [];
  let computations = 0;
  let published = 0;
  const flights = stage.mode === "full" ? 20 : 8;
  for (let flight = -2; flight < flights; flight++) {
    const order = { name: `value ${flight}`, at: now() + 50 };
    const before = await stage.server.calls("publish");
    const all = await Promise.all(players.map((player) => player.call<Flight>("ask", order)));
    const pushes = (await stage.server.calls("publish")) - before;
    // The first ones meet connections that are not open yet, and code that is not yet compiled.
    if (flight < 0) continue;
    const made = all.flatMap((each) => each.made);
    const [first = NaN] = made;
    computations += made.length;
    published += pushes / (processes - 1);
    for (const each of all) if (each.made.length === 0) served.push(...each.served.map((instant) => instant - first));
  }
  const handoffs: number[] = [];
  for (let i = 0; i < 20; i++) handoffs.push(await handOff(players as [Player, Player]));
  return {
    values: {
      flights,
      computations: computations / flights,
      published: published / flights,
      handoff: median(handoffs),
    },
    pools: { served },
  };
}

async function handOff([a, b]: [Player, Player]): Promise<number> {
  await a.call("hold");
  await b.call("request");
  await sleep(30);
  const released = await a.call<number>("release");
  return (await b.call<number>("granted")) - released;
}

function asker(session: Session): Methods {
  let release: Release;
  let granted: Promise<number>;

  async function take(): Promise<number> {
    const end = await session.acquire("lock", ttl);
    const instant = now();
    await end();
    return instant;
  }

  return {
    async ask({ name, at }: { name: string; at: number }): Promise<Flight> {
      const made: number[] = [];
      const compute = async (): Promise<object> => {
        await sleep(computeMs);
        made.push(now());
        return { token: "x".repeat(100) };
      };
      await sleepUntil(at);
      const served = await Promise.all(
        Array.from({ length: askersEach }, async () => {
          await session.extras!.share!(name, ttl, compute);
          return now();
        }),
      );
      return { made, served };
    },
    async hold() {
      release = await session.acquire("lock", ttl);
    },
    request: () => void (granted = take()),
    async release(): Promise<number> {
      const start = now();
      await release();
      return start;
    },
    granted: () => granted,
  };
}
