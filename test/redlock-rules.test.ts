/** What `npm run model` explores is what the nodes do: the model's rules and the scripts, step by step on a server. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type ModelNode, RULES } from "../model/node-rules.ts";
import { type Server, startServer } from "../scripts/servers.ts";
import { Random } from "../simulator/world/random.ts";
import { ask, handover, release, renew, seize, take } from "../src/schemes/redlock/scripts.generated.ts";

const TTL = 60_000;
const MARK = "mark";
const [KEY, COUNTER, HOLDERS] = ["lock:x", "{lock:x}:fence", "{lock:x}:holders"];
const KEYS = ["lock::node", KEY, COUNTER, "{lock:x}:queue", HOLDERS, "{lock:x}:waiters"];
/** The model's numbers are small. */
const ORIGIN = 1_000_000;
/** How far a script passes the fence of whoever is evicted. */
const MARGIN = 10_000;

const READERS = [1, 2, 3];
const WRITERS = [4, 5, 6];
const TOKENS = [...READERS, ...WRITERS];

let server: Server;
let redis: Redis;
beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url);
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function run({ source }: { source: string }, ...args: (string | number)[]): Promise<unknown[]> {
  return [await redis.eval(source, KEYS.length, ...KEYS, ...args)].flat(2);
}

function textOf(token: number): string {
  return `${String(token).padEnd(22, "-")}:1`;
}

function modeOf(token: number): "shared" | "exclusive" {
  return READERS.includes(token) ? "shared" : "exclusive";
}

/** A fence of the model, as the scripts answer it; undefined for a refusal. */
function fenceIn(reply: unknown): number | undefined {
  return Number(reply) > 0 ? Number(reply) - ORIGIN : undefined;
}

async function asks(how: "take" | "bid", token: number, proposal: number): Promise<number | undefined> {
  const words = [textOf(token), how, modeOf(token), TTL, 1, ORIGIN + proposal, 1, 1, 1, 0, "", ""];
  const reply = await run(ask, MARK, "lock:push:", ...words);
  if (reply.length === 1) return fenceIn(reply[0]);
  await run(release, "lock:push:", "0", textOf(token)); // the model has no queue
  return undefined;
}

async function prolongs(how: "" | "raise", token: number, fence: number): Promise<boolean> {
  const words = [textOf(token), how, modeOf(token), ORIGIN + fence, ORIGIN + fence, TTL, ""];
  return Number((await run(renew, MARK, "lock:push:", ...words))[0]) === 1;
}

/** Each does one thing to both, and returns what both say of it. */
const STEPS: Record<string, (node: ModelNode, token: number, fence: number, other: number) => Promise<unknown[]>> = {
  take: async (node, token, fence) => [
    await asks("take", token, fence),
    RULES.take(node, token, modeOf(token) === "shared", fence),
  ],
  takePlainly: async (node, token, fence) => {
    if (modeOf(token) === "shared") return [];
    const keys = KEYS.slice(0, 4);
    const words = [MARK, TTL, 1, textOf(token), ORIGIN + fence];
    const reply = [await redis.eval(take.source, keys.length, ...keys, ...words)].flat();
    return [fenceIn(reply[0]), RULES.take(node, token, false, fence)];
  },
  bid: async (node, token, fence) => [
    await asks("bid", token, fence),
    RULES.bid(node, token, modeOf(token) === "shared", fence),
  ],
  giveBack: async (node, token) => [
    void (await run(release, "lock:push:", "1", textOf(token))),
    RULES.giveBack(node, token),
  ],
  release: async (node, token) => [
    void (await run(release, "lock:push:", "0", textOf(token))),
    RULES.release(node, token),
  ],
  raise: async (node, token, fence) => [
    await prolongs("raise", token, fence),
    RULES.raise(node, token, modeOf(token) === "shared", fence),
  ],
  renew: async (node, token, fence) => [
    await prolongs("", token, fence),
    RULES.renew(node, token, modeOf(token) === "shared", fence),
  ],
  handOver: async (node, token, fence, heir) => {
    const words = [textOf(token), textOf(heir), modeOf(heir), TTL, ORIGIN + fence, ""];
    const [last] = await run(handover, MARK, "lock:push:", ...words);
    return [fenceIn(last), RULES.handOver(node, token, heir, modeOf(heir) === "shared", fence)];
  },
  seize: async (node, token, fence, thief) => {
    if (modeOf(thief) === "shared") return [];
    const [last] = await run(seize, MARK, "lock:push:", textOf(thief), TTL, ORIGIN + fence, "", "", "");
    return [fenceIn(last), RULES.seize(node, thief, fence)];
  },
  evict: async (node, token, fence) => [
    void (await run(seize, MARK, "lock:push:", "", 0, ORIGIN + fence, "", textOf(token), ORIGIN + fence)),
    RULES.evict(node, token, fence, MARGIN),
  ],
  vanish: async (node) => [void (await redis.del(KEY)), node.votes.clear()],
};

/** What the node has of the lock, in the model's numbers. */
async function look(): Promise<unknown> {
  const isShared = (await redis.type(KEY)) === "zset";
  const value = isShared ? "" : ((await redis.get(KEY)) ?? "");
  const records = isShared ? await redis.hgetall(HOLDERS) : value && { [value.slice(0, 24)]: value.slice(25) };
  const votes = Object.entries(records || {}).map(([token, record]) => {
    const [, last, before] = record.split("#").map(Number) as [number, number, number];
    return [Number(token[0]), { last: last - ORIGIN, before: before - ORIGIN }] as const;
  });
  return { fence: Number(await redis.get(COUNTER)) - ORIGIN, votes: votes.toSorted(([a], [b]) => a - b) };
}

test.each([0, 12])("the scripts do what the model's nodes do, with new fences above %i", async (floor) => {
  const random = new Random(`rules ${floor}`);
  for (let round = 0; round < 25; round++) {
    await redis.flushall();
    await redis.hset("lock::node", "mark", MARK, "floor", ORIGIN + floor);
    await redis.set(COUNTER, ORIGIN + 1);
    const node: ModelNode = { votes: new Map(), shared: false, fence: 1, floor };
    const told: string[] = [];
    for (let i = 0; i < 40; i++) {
      const name = random.pick(Object.keys(STEPS));
      const [token, other] = [random.pick(TOKENS), random.pick(TOKENS)];
      // Mostly near the counter, where the rules differ.
      const fence = Math.max(1, node.fence + random.below(8) - 3);
      if (name === "handOver" && token === other) continue;
      told.push(`${name} ${token} ${fence} ${other}`);
      const [said, expected] = await STEPS[name]!(node, token, fence, other);
      expect(said, told.join("\n")).toEqual(expected);
      const votes = [...node.votes].toSorted(([a], [b]) => a - b);
      expect(await look(), told.join("\n")).toEqual({ fence: node.fence, votes });
    }
  }
});
