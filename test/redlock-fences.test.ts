/** Fences over several nodes grow whatever is lost, late or forgotten: every state of a model, and its rules on a server. */
import { Redis } from "ioredis";
import { describe, expect, test, vi } from "vitest";
import { startServer } from "../scripts/servers.ts";
import * as lua from "../src/schemes/redlock/scripts.generated.ts";
import { Proposals } from "../src/schemes/redlock/proposals.ts";
import { judgeVotes, quorumOf } from "../src/schemes/redlock/ballot.ts";
import type { Vote } from "../src/schemes/redlock/ballot.ts";
import { ManualClock } from "../src/testing.ts";
import { openNodes } from "./support/nodes.ts";
import { type Bounds, type ModelNode, RULES, type Rules, explore } from "./support/redlock-model.ts";

const two: Bounds = {
  after: [-1, -1],
  proposals: [1],
  vanishing: 0,
  forgetting: 0,
  asking: 0,
  extending: false,
  evicting: false,
};

/** Small enough for every run. HOLDFAST_LONG adds one that takes a minute, HOLDFAST_MODEL=large those that take several. */
const explored: [string, Bounds][] = [
  ["keys vanish, clocks differ", { ...two, proposals: [1, 3], vanishing: 1 }],
  ["clients ask again", { ...two, asking: 1 }],
  ["a server forgets", { ...two, forgetting: 1 }],
  ["a lease is extended", { ...two, vanishing: 1, extending: true }],
];
if (process.env["HOLDFAST_LONG"] !== undefined || process.env["HOLDFAST_MODEL"] === "large") {
  explored.push(["a lock is taken by force", { ...two, extending: true, evicting: true }]);
}
if (process.env["HOLDFAST_MODEL"] === "large") {
  explored.push(
    ["keys vanish twice, clocks differ", { ...two, proposals: [1, 3], vanishing: 2 }],
    ["clients ask again, keys vanish, clocks differ", { ...two, proposals: [1, 2], asking: 1, vanishing: 1 }],
    ["a server forgets, keys vanish", { ...two, forgetting: 1, vanishing: 1 }],
    ["a lease is extended, keys vanish twice", { ...two, vanishing: 2, extending: true }],
    ["a lock is taken by force, keys vanish", { ...two, vanishing: 1, extending: true, evicting: true }],
    ["a client comes back", { ...two, after: [-1, -1, 0] }],
  );
}

/** What is easily got wrong, and where it shows. */
const mistakes: [string, Bounds, Partial<Rules>][] = [
  [
    "no second round: the largest fence of a majority is taken as it is",
    { ...two, vanishing: 1 },
    {
      judge: (votes, nodes) => {
        const verdict = judgeVotes(votes, nodes);
        return verdict?.kind === "raise" ? { kind: "granted", fence: verdict.fence } : verdict;
      },
    },
  ],
  [
    "the fence is raised where the lock is somebody else's by now",
    { ...two, proposals: [1, 3], vanishing: 2 },
    {
      raise: (node, _, fence) => {
        node.fence = Math.max(node.fence, fence);
        return true;
      },
    },
  ],
  [
    "a grant need not draw a larger fence than the last",
    { ...two, proposals: [1, 3] },
    {
      vote: (node, token, proposal) => {
        if (node.holder !== 0 && node.holder !== token) return 0;
        node.holder = token;
        return (node.fence = Math.max(node.fence, proposal));
      },
    },
  ],
  ["half of the nodes are a majority", two, { judge: (votes) => judgeVotes(votes, 1) }],
  [
    "a server that forgot begins anew from nothing",
    { ...two, forgetting: 1 },
    {
      vote: (node, token, proposal) => {
        if (node.fence === 0) node.time = 1;
        return RULES.vote(node, token, proposal);
      },
    },
  ],
  [
    "a lost key is put back without a look at the fence",
    { ...two, vanishing: 1, extending: true },
    {
      renew: (node, token) => {
        if (node.holder !== 0 && node.holder !== token) return false;
        node.holder = token;
        return true;
      },
    },
  ],
  [
    "a key is enough to extend, though a late vote put it there",
    { ...two, vanishing: 1, extending: true },
    { renew: (node, token, fence) => node.holder === token || RULES.renew(node, token, fence) },
  ],
  [
    "a lock that is taken by force leaves the fence where the key was not",
    { ...two, extending: true, evicting: true },
    { evict: (node, token, fence) => node.holder === token && RULES.evict(node, token, fence) },
  ],
];

describe("in every state of three nodes and two clients", () => {
  test.each(explored)(
    "fences grow and leases are extended only by who still holds: %s",
    (_, bounds) => {
      const { states, violation } = explore(bounds);
      expect(violation).toBeUndefined();
      expect(states).toBeGreaterThan(10_000);
    },
    300_000,
  );

  test.each(mistakes)("the model would show it if %s", (_, bounds, mistake) => {
    expect(explore(bounds, { ...RULES, ...mistake }).violation).toBeDefined();
  });
});

describe("the scripts of a node", () => {
  test("do what the model's nodes do, step by step", async () => {
    await using server = await startServer();
    const redis = new Redis(server.url);
    const run = async (script: { source: string }, keys: string[], ...args: unknown[]): Promise<unknown> => {
      const replies = await redis.eval(script.source, keys.length, ...keys, ...args.map(String));
      return (replies as unknown[])[0];
    };
    try {
      for (let round = 0; round < 12; round++) {
        const keys = [`k${round}`, `{k${round}}:fence`, `{k${round}}:waiters`] as const;
        // In the model's small numbers, from where a server's clock would not set the fence.
        const origin = Date.now() * 1000 + 1e6;
        await redis.set(keys[1], String(origin + 1));
        const node: ModelNode = { holder: 0, fence: 1, time: 1 };
        const nameOf = (token: number): string => `client:${token}`;
        for (let i = 0; i < 60; i++) {
          const token = 1 + Math.floor(Math.random() * 3);
          const fence = 1 + Math.floor(Math.random() * 30);
          const step = ["vote", "vote", "raise", "renew", "drop", "evict"][Math.floor(Math.random() * 6)];
          const told = `${step} ${token} ${fence} on ${JSON.stringify(node)}`;
          if (step === "vote") {
            const reply = await run(lua.vote, [...keys], "client", 60_000, 0, 0, token, origin + fence);
            const expected = RULES.vote(node, token, fence);
            expect(Array.isArray(reply) ? 0 : Number(reply) - origin, told).toBe(expected);
          } else if (step === "raise") {
            const reply = await run(lua.raise, [keys[0], keys[1]], nameOf(token), origin + fence);
            expect(Number(reply) === 1, told).toBe(RULES.raise(node, token, fence));
          } else if (step === "renew") {
            const reply = await run(lua.renew, [keys[0], keys[1]], nameOf(token), origin + fence, 60_000);
            expect(Number(reply) > 0, told).toBe(RULES.renew(node, token, fence));
          } else if (step === "evict") {
            const reply = await run(lua.evict, [...keys], "channel:", nameOf(token), origin + fence, 300_000);
            expect(Number(reply) === 1, told).toBe(RULES.evict(node, token, fence));
          } else {
            await run(lua.drop, [keys[0], keys[2]], "channel:", 1, "", nameOf(token));
            if (node.holder === token) node.holder = 0;
          }
          expect(await redis.get(keys[0]), told).toBe(node.holder === 0 ? null : nameOf(node.holder));
          expect(Number(await redis.get(keys[1])) - origin, told).toBe(node.fence);
        }
      }
    } finally {
      redis.disconnect();
    }
  });

  test("begin from the server's clock, refuse what is far ahead of it, and leave nothing for ever", async () => {
    await using server = await startServer();
    const redis = new Redis(server.url);
    try {
      const before = Date.now() * 1000;
      const vote = async (number: string, proposal: number): Promise<unknown> => {
        const args = ["client", 500, 1, 0, number, proposal].map(String);
        return ((await redis.eval(lua.vote.source, 3, "k", "{k}:fence", "{k}:waiters", ...args)) as unknown[])[0];
      };
      const refused = Number(await vote("a", before + 3_600e6));
      expect(-refused).toBeGreaterThanOrEqual(before);
      expect(await redis.exists("k", "{k}:fence")).toBe(0);
      expect(Number(await vote("a", 5))).toBeGreaterThanOrEqual(before);
      expect(await vote("b", 5)).toEqual([expect.any(Number), "client:a"]);
      for (const key of await redis.keys("*")) expect(await redis.pttl(key), key).toBeGreaterThan(0);
      expect(await redis.pttl("{k}:fence")).toBeGreaterThan(250_000);
    } finally {
      redis.disconnect();
    }
  });
});

describe("a lock over three nodes", () => {
  test("whose fences differ takes the largest, and a majority knows it before it is granted", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const ahead = (Date.now() + 5_000) * 1000;
    await Promise.all(nodes.redis.map((redis, i) => redis.set("{lock:x}:fence", String(ahead + i * 1000))));
    const lock = await locks.acquire("x");
    const fences = (await Promise.all(nodes.redis.map((redis) => redis.get("{lock:x}:fence")))).map(Number);
    expect(fences.filter((fence) => fence >= lock.fence).length).toBeGreaterThanOrEqual(2);
    expect(lock.fence).toBeGreaterThan(ahead + 1000);
    expect((await locks.query({ name: "x" })).held[0]?.fence).toBe(lock.fence);
    await lock.release();
    const next = await locks.acquire("x");
    expect(next.fence).toBeGreaterThan(lock.fence);
  });

  test("is had by a client whose clock is an hour ahead, with a fence of the nodes' time", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const real = Date.now.bind(Date);
    const jumped = vi.spyOn(Date, "now").mockImplementation(() => real() + 3_600_000);
    t.onTestFinished(() => jumped.mockRestore());
    const lock = await locks.acquire("x");
    expect(lock.fence).toBeLessThan((real() + 60_000) * 1000);
    await lock.release();
    const next = await locks.acquire("x");
    expect(next.fence).toBeGreaterThan(lock.fence);
  });
});

describe("votes", () => {
  const granted = (fence: number): Vote => ({ kind: "granted", fence });
  const held: Vote = { kind: "held", left: 1, holder: "x" };
  const failed = { kind: "failed", cause: undefined } as const;

  test.each([1, 2, 3, 4, 5, 6, 7])("of %i nodes are decided by any majority, and always once all are in", (nodes) => {
    const quorum = quorumOf(nodes);
    expect(quorum * 2).toBeGreaterThan(nodes);
    for (let yes = 0; yes <= nodes; yes++)
      for (let no = 0; yes + no <= nodes; no++) {
        const votes = [
          ...Array.from({ length: yes }, () => granted(7)),
          ...Array.from({ length: no }, () => held),
          ...Array.from({ length: nodes - yes - no }, () => failed),
        ];
        const kind = judgeVotes(votes, nodes)?.kind;
        expect(kind).toBe(yes >= quorum ? "granted" : yes + no < quorum ? "no-quorum" : "held");
      }
    // As soon as it is certain, and not before.
    expect(
      judgeVotes(
        Array.from({ length: quorum }, () => granted(7)),
        nodes,
      ),
    ).toEqual({ kind: "granted", fence: 7 });
    expect(
      judgeVotes(
        Array.from({ length: quorum - 1 }, () => granted(7)),
        nodes,
      ),
    ).toBeUndefined();
    expect(
      judgeVotes(
        Array.from({ length: nodes - quorum + 1 }, () => held),
        nodes,
      )?.kind,
    ).toBe("held");
  });

  test("with different fences ask for a second round, but not where a majority agrees without it", () => {
    expect(judgeVotes([granted(5), granted(7)], 3)).toEqual({ kind: "raise", fence: 7 });
    expect(judgeVotes([granted(5), granted(9), granted(5)], 3)).toEqual({ kind: "granted", fence: 5 });
  });
});

describe("proposals", () => {
  test("grow, follow those who are ahead, and fall back to the nodes' clocks when refused", async () => {
    const clock = new ManualClock();
    const proposals = new Proposals(clock);
    const first = proposals.next();
    expect(first).toBeGreaterThan(clock.micros());
    expect(proposals.next()).toBe(first + 1);
    proposals.drawn(first + 5_000_000);
    expect(proposals.next()).toBeGreaterThan(first + 5_000_000);
    await clock.advance(10);
    expect(proposals.next()).toBeGreaterThan(first + 5_009_000);
    proposals.refused(clock.micros() - 60_000_000);
    expect(proposals.next()).toBeLessThan(clock.micros() - 50_000_000);
  });
});
