/** What bounds the work of one script, and the fences that it draws: counted on the server, never timed. */
import { expect, test } from "vitest";
import type { Lock } from "../src/index.ts";
import { hold, unique } from "./support/locks.ts";
import { openStage, scriptCalls, type Stage } from "./support/stage.ts";

const ENDED = 50_000;
/** How many of them one script call may clear away. */
const MOST_PURGED = 1_000;

/** Copies of one holder, whose time has ended since: so a process leaves them that crashed. */
const LEAVE = `
  local record = redis.call('HGET', KEYS[2], ARGV[1])
  for i = 1, ARGV[2] do
    redis.call('ZADD', KEYS[1], 1, 'AAAAAAAAAAAAAAAAAAAAAA:' .. i)
    redis.call('HSET', KEYS[2], 'AAAAAAAAAAAAAAAAAAAAAA:' .. i, record)
  end
  local used, limit = string.match(redis.call('HGET', KEYS[2], 'permits') or '', '^(%d+)/(%d+)$')
  if used then redis.call('HSET', KEYS[2], 'permits', used + ARGV[2] .. '/' .. limit) end`;

/** How many are cleared away, and how many script calls there are, until `next` are granted beside the first. */
async function cleared(
  stage: Stage,
  first: Lock,
  next: () => Promise<Lock[]>,
): Promise<{ ended: number; calls: number }> {
  const key = `lock:${first.name}`;
  const before = await scriptCalls(stage.redis);
  await stage.redis.eval(LEAVE, 2, key, `{${key}}:holders`, first.token, ENDED);
  const granted = await next();
  const ended = ENDED + 1 + granted.length - (await stage.redis.zcard(key));
  const calls = (await scriptCalls(stage.redis)) - before - 1; // one was ours
  await Promise.all([first, ...granted].map((lock) => lock.release()));
  return { ended, calls };
}

test("of 50,000 ended shared holders one script call clears a thousand away, however many requests it carries", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager({ turn: 1 });
  const share = () => locks.acquire(name, { mode: "shared" });
  const name = unique();
  // Each has a place of its own, and all share a call, because they are made in one turn of the event loop.
  const many = () => Promise.all(Array.from({ length: 10 }, share));
  const { ended, calls } = await cleared(stage, await share(), many);
  expect(ended).toBeGreaterThan(0);
  expect(ended).toBeLessThanOrEqual(calls * MOST_PURGED);
});

test("50,000 ended permits are cleared away by fifty script calls and more", async (t) => {
  const stage = await openStage(t);
  const semaphore = (await stage.manager()).semaphore(unique(), ENDED + 1);
  const all = async () => [await semaphore.acquire({ permits: ENDED })];
  const { ended, calls } = await cleared(stage, await semaphore.acquire(), all);
  expect(ended).toBe(ENDED);
  expect(calls).toBeGreaterThanOrEqual(ENDED / MOST_PURGED);
});

test("a grant draws few fences, however long turns may be, and a refusal none: the clock outruns them", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager({ turn: 1_000 });
  // Ahead of the clock, each fence that is drawn moves the counter by one.
  const ahead = (Date.now() + 3_600_000) * 1_000;
  await stage.redis.set("lock::fence", ahead);
  const drawn = async (): Promise<number> => Number(await stage.redis.get("lock::fence")) - ahead;
  const names = Array.from({ length: 200 }, () => unique());
  const label = "a label makes it the general script that grants";
  const holders = await Promise.all(names.map((name) => hold(locks, name, { label })));
  const forGrants = await drawn();
  expect(forGrants).toBeGreaterThanOrEqual(names.length);
  // Some are spared for those who may still join the turn.
  expect(forGrants).toBeLessThanOrEqual(names.length * 20);
  const refused = await Promise.all(names.map((name) => locks.tryAcquire(name, { label })));
  expect(refused.every((lock) => lock === null)).toBe(true);
  expect(await drawn()).toBe(forGrants);
  await Promise.all(holders.map((holder) => holder.end()));
});
