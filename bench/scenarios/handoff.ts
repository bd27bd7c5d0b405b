import type { Release, Session } from "../contenders/index.ts";
import { now, sleep } from "../lib/clock.ts";
import { randomFrom } from "../lib/random.ts";
import type { Methods, Player, Scenario, Stage } from "../lib/scenario.ts";

const name = "handoff";
const ttl = 60_000;

export const handoff: Scenario = {
  name: "handoff",
  asks: "B has waited 50 to 150 ms for the lock that A, another process, holds: from A's release() to B's grant",
  rounds: { full: 4, quick: 2 },
  columns: [
    { key: "p50", title: "p50 ms", better: "less", pool: { name: "delay", share: 0.5 }, brief: true },
    { key: "p99", title: "p99 ms", better: "less", pool: { name: "delay", share: 0.99 }, brief: true },
    { key: "count", title: "handoffs a round", better: "neither" },
  ],
  figures: [
    {
      id: "handoff.p50-vs-redis-semaphore",
      says: "p50 at most a fifth of redis-semaphore's",
      column: "p50",
      against: ["redis-semaphore"],
      bound: { atMost: 0.2 },
      tolerance: 0.5,
    },
    {
      id: "handoff.p50-vs-redlock5",
      says: "p50 at most a fiftieth of redlock 5's",
      column: "p50",
      against: ["redlock5"],
      bound: { atMost: 0.02 },
      tolerance: 0.5,
    },
    {
      id: "handoff.p50-vs-publish",
      says: "p50 at most 3 × a bare PUBLISH from A to B",
      column: "p50",
      against: ["bare-ioredis"],
      bound: { atMost: 3 },
      tolerance: 0.3,
    },
  ],
  // The floor is a bare PUBLISH from the one process to the other.
  takes: ({ kind, id }) => kind !== "floor" || id === "bare-ioredis",
  measure,
  roles: { giver, taker },
};

async function measure(stage: Stage) {
  const [a, b] = await Promise.all([stage.hire("giver"), stage.hire("taker")]);
  const random = randomFrom(stage.round);
  const isFloor = stage.contender.kind === "floor";
  const pass = isFloor ? publish : giveAndTake;
  if (isFloor) await b.call("subscribe");
  for (let i = 0; i < 3; i++) await pass(a, b, 20);

  const delay: number[] = [];
  const end = now() + (stage.mode === "full" ? 3_000 : 1_200);
  while (now() < end) delay.push(await pass(a, b, 50 + random() * 100));
  return { values: { count: delay.length }, pools: { delay } };
}

async function giveAndTake(a: Player, b: Player, pause: number): Promise<number> {
  await a.call("hold");
  await b.call("request");
  const released = await a.call<number>("release", pause);
  return (await b.call<number>("granted")) - released;
}

async function publish(a: Player, b: Player, pause: number): Promise<number> {
  await b.call("listen");
  const published = await a.call<number>("publish", pause);
  return (await b.call<number>("heard")) - published;
}

function giver(session: Session): Methods {
  let release: Release;
  return {
    async hold() {
      release = await session.acquire(name, ttl);
    },
    async release(pause: number): Promise<number> {
      await sleep(pause);
      const start = now();
      await release();
      return start;
    },
    async publish(pause: number): Promise<number> {
      await sleep(pause);
      const start = now();
      await session.extras!.publish!(name);
      return start;
    },
  };
}

function taker(session: Session): Methods {
  let instant: Promise<number>;
  let hear: (instant: number) => void;

  async function take(): Promise<number> {
    const release = await session.acquire(name, ttl);
    const granted = now();
    await release();
    return granted;
  }

  return {
    request: () => void (instant = take()),
    granted: () => instant,
    subscribe: async () => void (await session.extras!.subscribe!(name, () => hear(now()))),
    listen: () => void (instant = new Promise((resolve) => (hear = resolve))),
    heard: () => instant,
  };
}
