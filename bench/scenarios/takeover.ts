import type { Release, Session } from "../contenders/index.ts";
import { now, sleep } from "../lib/clock.ts";
import { randomFrom } from "../lib/random.ts";
import type { Methods, Player, Scenario, Stage } from "../lib/scenario.ts";

const name = "takeover";
const ttl = 1_000;

export const takeover: Scenario = {
  name: "takeover",
  asks:
    "A leads, and B, another process, is a candidate; ttl 1 s: from A's resign() to B's term; from SIGKILL of A, at " +
    "any time between two renewals, to B's term, and from the end of A's lease",
  rounds: { full: 3, quick: 1 },
  onlyFull: true,
  columns: [
    { key: "p50", title: "resigned p50 ms", better: "less", pool: { name: "resigned", share: 0.5 }, brief: true },
    { key: "p99", title: "resigned p99 ms", better: "less", pool: { name: "resigned", share: 0.99 }, brief: true },
    { key: "count", title: "resigned a round", better: "neither" },
    { key: "killed", title: "killed p50 ms", better: "less", pool: { name: "killed", share: 0.5 }, brief: true },
    { key: "longest", title: "killed, longest ms", better: "less", pool: { name: "killed", share: 1 } },
    { key: "beyond", title: "beyond lease p50 ms", better: "less", pool: { name: "beyond", share: 0.5 }, brief: true },
    { key: "beyondLongest", title: "beyond lease, longest ms", better: "less", pool: { name: "beyond", share: 1 } },
    { key: "kills", title: "killed a round", better: "neither" },
  ],
  figures: [],
  takes: ({ kind }) => kind === "holdfast",
  measure,
  roles: { candidate },
};

async function measure(stage: Stage) {
  const random = randomFrom(stage.round);
  let leader = await newCandidate(stage);
  await leader.call("term");
  let next = await newCandidate(stage);

  const resigned: number[] = [];
  async function resign(pause: number): Promise<number> {
    await sleep(pause);
    const start = await leader.call<number>("resign");
    [leader, next] = [next, leader];
    return (await leader.call<number>("term")) - start;
  }
  // The first ones meet code that is not yet compiled.
  for (let i = 0; i < 3; i++) await resign(20);
  for (const end = now() + (stage.mode === "full" ? 3_000 : 1_200); now() < end;) {
    resigned.push(await resign(50 + random() * 100));
  }

  const killed: number[] = [];
  const beyond: number[] = [];
  for (let kills = stage.mode === "full" ? 5 : 3; kills > 0; kills--) {
    await sleep(100 + (random() * ttl) / 2);
    const start = now();
    await leader.end();
    const leaseEnd = await next.call<number>("leaseEnd");
    const term = await next.call<number>("term");
    killed.push(term - start);
    beyond.push(term - leaseEnd);
    [leader, next] = [next, await newCandidate(stage)];
  }
  return { values: { count: resigned.length, kills: killed.length }, pools: { resigned, killed, beyond } };
}

async function newCandidate(stage: Stage): Promise<Player> {
  const player = await stage.hire("candidate");
  await player.call("run");
  return player;
}

function candidate(session: Session): Methods {
  /** The end of its present or last term. */
  let resign: Release;
  let begin: (instant: number) => void;
  let began: Promise<number>;

  function awaitTerm(): void {
    began = new Promise((resolve) => (begin = resolve));
  }

  async function campaign(): Promise<void> {
    for await (const term of session.extras!.elect!(name, ttl)) {
      begin(now());
      await new Promise<void>((leave) => {
        resign = async () => {
          awaitTerm();
          await term.resign();
          leave();
        };
      });
    }
  }

  return {
    run() {
      awaitTerm();
      void campaign();
    },
    term: () => began,
    async resign(): Promise<number> {
      const start = now();
      await resign();
      return start;
    },
    leaseEnd: async () => now() + (await session.extras!.remaining!(name)),
  };
}
