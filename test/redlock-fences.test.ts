/** Fences over several nodes grow, whatever is lost, late or forgotten. `npm run model` looks at more states. */
import { describe, expect, test, vi } from "vitest";
import { explore } from "../model/explore.ts";
import { FenceModel, type Terms } from "../model/fences.ts";
import { ask, release, renew } from "../src/schemes/redlock/scripts.generated.ts";
import { judgeRelease, judgeRenewal, judgeVotes, quorumOf } from "../src/schemes/redlock/verdict.ts";
import { openNodes } from "./support/nodes.ts";
import type { Finishing } from "./support/stage.ts";

const cases: [string, Terms][] = [["clocks differ", { proposals: [[3], [2]] }]];

const oldData: Terms = { proposals: [[3], [1]], forgetting: 1, later: [1] };
const mistakes: [string, Terms][] = [
  ["a node that forgot has no floor", { ...oldData, mistakes: { noFloor: true } }],
  ["a node that forgot counts at once", { ...oldData, mistakes: { noWait: true } }],
];

describe("in every state of three nodes and two requests", () => {
  test.each(cases)("fences grow, and only who still holds is extended: %s", { timeout: 60_000 }, (_, terms) => {
    const { states, violation } = explore(new FenceModel(terms));
    expect(violation).toBeUndefined();
    expect(states).toBeGreaterThan(1_000);
  });

  test.each(mistakes)("the model shows it if %s", { timeout: 60_000 }, (_, terms) => {
    expect(explore(new FenceModel(terms)).violation).toBeDefined();
  });
});

describe("a lock over three nodes", () => {
  test("whose fences differ has a larger one than a majority had, and a majority knows it", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const ahead = (Date.now() + 5_000) * 1000;
    await Promise.all(nodes.redis.map((redis, i) => redis.set("{lock:x}:fence", String(ahead + i * 1000))));
    const lock = await locks.acquire("x");
    const fences = (await Promise.all(nodes.redis.map((redis) => redis.get("{lock:x}:fence")))).map(Number);
    expect(fences.filter((fence) => fence >= lock.fence).length).toBeGreaterThanOrEqual(2);
    expect(lock.fence).toBeGreaterThan(ahead);
    expect((await locks.query({ name: "x" })).held[0]?.fence).toBe(lock.fence);
    await lock.release();
    const next = await locks.acquire("x");
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
  });

  test("has growing fences when a client's clock goes an hour ahead and back", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const real = Date.now.bind(Date);
    const jumped = vi.spyOn(Date, "now").mockImplementation(() => real() + 3_600_000);
    t.onTestFinished(() => jumped.mockRestore());
    const lock = await locks.acquire("x");
    await lock.release();
    jumped.mockRestore();
    const other = await nodes.manager();
    const next = await other.acquire("x");
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
  });
});

describe("of two readers whose votes came in different orders", () => {
  /** One node as they find it: each answers with the fence of its vote, or whether its fence was brought there. */
  async function openNode(t: Finishing) {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    await (await locks.acquire("x")).release();
    const redis = nodes.redis[0]!;
    const mark = (await redis.hget("lock::node", "mark"))!;
    const keys = ["lock::node", "lock:y", "{lock:y}:fence", "{lock:y}:queue", "{lock:y}:holders", "{lock:y}:waiters"];
    const run = async (script: { source: string }, ...args: (string | number)[]): Promise<number> =>
      Number([await redis.eval(script.source, keys.length, ...keys, ...args)].flat()[0]);
    return {
      take: (token: string) =>
        run(ask, mark, "lock:push:", token, "take", "shared", 10_000, 1, 1_000, 0, 1, 1, 0, "", ""),
      bring: (how: string, token: string, fence: number) =>
        run(renew, mark, "lock:push:", token, how, "shared", fence, fence, 10_000, ""),
      giveBack: (token: string) => run(release, "lock:push:", "1", token),
      fence: async () => Number(await redis.get(keys[2]!)),
    };
  }

  const [one, two] = ["1", "2"].map((name) => `${name.padEnd(22, "-")}:1`) as [string, string];

  test("neither is given the fence that the other has on a node", async (t) => {
    const { take, bring } = await openNode(t);
    const first = await take(one);
    const second = await take(two);
    expect(second).toBeGreaterThan(first);
    expect(await bring("raise", one, second)).toBe(0);
    expect(await bring("raise", one, second + 1)).toBe(1);
    expect(await bring("raise", one, second + 1)).toBe(1); // sent twice
    expect(await bring("raise", two, second + 1)).toBe(0);
    // A majority knew it when it was granted, so this node may know it, too.
    expect(await bring("", two, second)).toBe(1);
  });

  test("neither is given the fence that the other has, though its own was above it for a while", async (t) => {
    const { take, bring } = await openNode(t);
    await take(one);
    const second = await take(two);
    expect(await bring("raise", one, second + 1)).toBe(1);
    expect(await bring("raise", one, second)).toBe(0);
  });

  test("one that gives up does not take the fence of the other from the node", async (t) => {
    const { take, bring, giveBack, fence } = await openNode(t);
    await take(one);
    const second = await take(two);
    expect(await bring("raise", one, second + 1)).toBe(1);
    await giveBack(one);
    expect(await fence()).toBeGreaterThanOrEqual(second);
  });
});

describe("votes", () => {
  test.each([1, 2, 3, 4, 5, 6, 7])("of %i nodes grant by a majority, no less; any two of them meet", (nodes) => {
    const quorum = quorumOf(nodes);
    expect(quorum * 2).toBeGreaterThan(nodes);
    for (let votes = 0; votes <= nodes; votes++) {
      const verdict = judgeVotes(
        Array.from({ length: votes }, () => 7),
        nodes,
      );
      expect(verdict).toEqual(votes >= quorum ? { kind: "granted", fence: 7 } : undefined);
    }
  });

  test("with different fences: a majority must know the one that is granted, and a minority ahead is left out", () => {
    expect(judgeVotes([5, 7], 3)).toEqual({ kind: "raise", fence: 7 });
    expect(judgeVotes([5, 9, 5], 3)).toEqual({ kind: "granted", fence: 5 });
    expect(judgeVotes([9, 7, 5], 3)).toEqual({ kind: "raise", fence: 7 });
  });

  test("of a minority never end a lease", () => {
    const no = { kind: "no", holder: "x" } as const;
    expect(judgeRenewal([no, no], 5)).toBeUndefined();
    expect(judgeRenewal([no, no, no], 5)).toBe("stolen");
    const nobody = { kind: "no", holder: "" } as const;
    expect(judgeRenewal([nobody, nobody, no], 5), "most of them know of no other holder").toBe("gone");
    expect(judgeRelease([{ kind: "no" }], 3, 3)).toBeUndefined();
    expect(judgeRelease([{ kind: "yes" }, { kind: "yes" }], 3, 3)).toBe("released");
  });
});
