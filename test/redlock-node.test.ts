/** What one node of a fleet decides by itself, asked without a manager. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { driverFor } from "../src/drivers/index.ts";
import { SchemeError } from "../src/errors.ts";
import { Node } from "../src/schemes/redlock/node.ts";
import { ask, look, note, release, renew, seize, take } from "../src/schemes/redlock/scripts.generated.ts";
import { ManualClock } from "../src/testing.ts";
import { type Deferred, deferred, rejection } from "./support/locks.ts";
import type { Finishing } from "./support/stage.ts";

const TTL = 10_000;
const MARK = "mark";
const COUNTER = "{lock:x}:fence";
const QUEUE = "{lock:x}:queue";
const HOLDERS = "{lock:x}:holders";
const WAITERS = "{lock:x}:waiters";

/** Tokens of three clients. */
const [one, two, three] = ["1", "2", "3"].map((name) => `${name.padEnd(22, "-")}:1`) as [string, string, string];

let server: Server;
let redis: Redis;
beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url);
});
beforeEach(async () => {
  await redis.flushall();
  await redis.hset("lock::node", "mark", MARK);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

function run({ source }: { source: string }, ...args: (string | number)[]): Promise<unknown> {
  const keys = ["lock::node", "lock:x", COUNTER, QUEUE, HOLDERS, WAITERS];
  return redis.eval(source, keys.length, ...keys, ...args);
}

/** Nobody listens for pushes here, so only the time of the last question tells who lives. */
function asks(token: string, how: "take" | "bid", mode: "exclusive" | "shared"): Promise<unknown> {
  const [fences, proposal, ticket, asked, waiting, listens, most, label] = [1, 1_000, 1, 1, 1, 0, "", ""];
  return run(
    ask,
    MARK,
    "lock:push:",
    token,
    how,
    mode,
    TTL,
    fences,
    proposal,
    ticket,
    asked,
    waiting,
    listens,
    most,
    label,
  );
}

async function takes(token: string, mode: "exclusive" | "shared"): Promise<number> {
  return Number([await asks(token, "take", mode)].flat()[0]);
}

test("a vote that is given back lowers the counter to what it was before, unless others have drawn since", async () => {
  const first = await takes(one, "shared");
  const second = await takes(two, "shared");
  const third = await takes(three, "shared");
  expect([second > first, third > second]).toEqual([true, true]);
  await run(release, "lock:push:", "1", one);
  expect(Number(await redis.get(COUNTER))).toBe(third);
  await run(release, "lock:push:", "1", three);
  expect(Number(await redis.get(COUNTER))).toBe(second);
});

test("a waiter that has not asked for too long is passed over, and leaves the queue", async () => {
  await takes(one, "exclusive");
  await asks(two, "bid", "exclusive");
  await asks(three, "bid", "exclusive");
  const [mode, ttl, , ...rest] = (await redis.hget(WAITERS, two))!.split(" ");
  await redis.hset(WAITERS, two, [mode, ttl, Date.now() - 1, ...rest].join(" "));
  await run(release, "lock:push:", "0", one);
  expect(await redis.get("lock:x")).toMatch(new RegExp(`^${three}#`));
  expect(await redis.exists(QUEUE, WAITERS)).toBe(0);
});

test.each(["exclusive", "shared"] as const)("a renewal never ends an %s lease earlier", async (mode) => {
  const fence = await takes(one, mode);
  expect([await run(renew, MARK, "lock:push:", one, "", mode, fence, fence, 1_000, "")].flat()).toEqual([1]);
  expect(await redis.pttl("lock:x")).toBeGreaterThan(1_000);
  expect([await run(renew, MARK, "lock:push:", one, "", mode, fence, fence, 3 * TTL, "")].flat()).toEqual([1]);
  expect(await redis.pttl("lock:x")).toBeGreaterThan(2 * TTL);
});

test("a vote is not given past those who wait, though whoever asks could hold beside the holder", async () => {
  await takes(one, "shared");
  await asks(two, "bid", "exclusive");
  expect(await takes(three, "shared")).toBeLessThan(0);
  expect(await redis.hkeys(HOLDERS)).toEqual([one]);
});

test("a free lock is voted for, though another lock of the same call is waited for", async () => {
  await takes(one, "exclusive");
  await asks(two, "bid", "exclusive");
  const keys = ["lock::node", "lock:x", COUNTER, QUEUE, "lock:y", "{lock:y}:fence", "{lock:y}:queue"];
  const reply = await redis.eval(take.source, keys.length, ...keys, MARK, TTL, 1, two, 2_000, three, 3_000);
  expect([reply].flat().map((each) => Math.sign(Number(each)))).toEqual([-1, 1]);
});

test("what a node notes of the leases that another forgot stands, whatever later managers know of them", async () => {
  const notes = async (left: number | ""): Promise<number> => {
    const reply = await redis.eval(note.source, 2, "lock::node", "lock::note", MARK, left);
    return Number([reply].flat(2)[1]);
  };
  expect(await notes("")).toBe(-1);
  expect(await notes(60_000)).toBe(60_000);
  expect(await notes(90_000)).toBeLessThanOrEqual(60_000);
  expect(await notes("")).toBeGreaterThan(0);
});

test("who evicts one reader leaves the others their votes, and no renewal brings the evicted one back", async () => {
  const [theirs, mine] = [await takes(one, "shared"), await takes(two, "shared")];
  const evicts = () => run(seize, MARK, "lock:push:", "", 0, 0, "", two, mine);
  expect([await evicts()].flat(2)).toEqual([1, two, String(mine)]);
  expect(await redis.hkeys(HOLDERS)).toEqual([one]);
  expect([await evicts()].flat(2)).toEqual([0]);
  const renews = (token: string, fence: number) =>
    run(renew, MARK, "lock:push:", token, "", "shared", fence, fence, TTL, "");
  expect([await renews(two, mine)].flat()).toEqual([0]);
  expect([await renews(one, theirs)].flat()).toEqual([1]);
  expect(await redis.hkeys(HOLDERS)).toEqual([one]);
});

test("a waiter that has not asked for too long is not shown", async () => {
  await takes(one, "exclusive");
  await asks(two, "bid", "exclusive");
  await asks(three, "bid", "exclusive");
  const [mode, ttl, , ...rest] = (await redis.hget(WAITERS, two))!.split(" ");
  await redis.hset(WAITERS, two, [mode, ttl, Date.now() - 1, ...rest].join(" "));
  const shown = JSON.stringify(await redis.eval(look.source, 4, "lock:x", HOLDERS, QUEUE, WAITERS));
  expect([shown.includes(one), shown.includes(two), shown.includes(three)]).toEqual([true, false, true]);
});

test("a holder that shares what it held alone lets the waiting readers in at once", async () => {
  const fence = await takes(one, "exclusive");
  await asks(two, "bid", "shared");
  expect(await redis.zcard(QUEUE)).toBe(1);
  expect([await run(renew, MARK, "lock:push:", one, "shared", "shared", fence, fence, TTL, "")].flat()).toEqual([1]);
  expect((await redis.hkeys(HOLDERS)).sort()).toEqual([one, two]);
  expect(await redis.exists(QUEUE)).toBe(0);
});

describe("a node that its manager has to meet", () => {
  /** Where each meeting waits for the test to say how it ends. */
  function openNode(t: Finishing) {
    const clock = new ManualClock();
    const meetings: Deferred<string>[] = [];
    const meet = (): Promise<string> => {
      const meeting = deferred<string>();
      meetings.push(meeting);
      return meeting.promise;
    };
    const driver = driverFor(new Redis(server.url, { lazyConnect: true }), {});
    const node = new Node("node", driver, clock, { prefix: "lock:", clientId: one }, { meet, againIn: () => 0 });
    t.onTestFinished(() => node.close());
    return { node, clock, meetings };
  }

  test("is met once, however many wait for it, and not when it is closed", async (t) => {
    const { node, clock, meetings } = openNode(t);
    const met = [node.met(), node.met()];
    expect(meetings).toHaveLength(1);
    meetings[0]!.resolve(MARK);
    await Promise.all(met);
    expect(node.counts).toBe(true);
    node.close();
    node.forgot();
    await clock.advance(5_000);
    expect(meetings).toHaveLength(1);
  });

  test("and cannot is tried again, after pauses that grow, until it can", async (t) => {
    const { node, clock, meetings } = openNode(t);
    const refused = rejection(node.met());
    const down = new SchemeError("unreachable", "down", [], true);
    for (const [i, pause] of [50, 100, 200, 400, 800, 1_000, 1_000].entries()) {
      meetings[i]!.reject(down);
      await clock.advance(pause - 1);
      expect([meetings.length, node.trouble]).toEqual([i + 1, down]);
      await clock.advance(1);
      expect(meetings).toHaveLength(i + 2);
    }
    expect(await refused).toBe(down);
    meetings.at(-1)!.resolve(MARK);
    await clock.advance(0);
    expect([node.counts, node.trouble]).toEqual([true, undefined]);
  });
});
