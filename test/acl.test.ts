/** What docs/protocol.md says that an account needs is what it needs. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { LockManager } from "../src/index.ts";
import { hold, stateOf, unique } from "./support/locks.ts";
import { type Finishing, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

const protocol = readFileSync(new URL("../docs/protocol.md", import.meta.url), "utf8");

/** The rules in the sentences about accounts: key patterns, channels, commands, and those for `query` and the like. */
const sentences = {
  lua: /^An account needs the key patterns .*$/m,
  set: /^An account of the scheme `set` needs the key patterns .*$/m,
};

function documentedRules(scheme: keyof typeof sentences): string[] {
  const sentence = sentences[scheme].exec(protocol)?.[0] ?? "";
  const rules = sentence.split("`").filter((each) => /^[~&+]/.test(each));
  return rules.flatMap((each) => each.split(" "));
}

/** Makes managers of an account that may do what is documented, and what its client needs to connect. */
async function openAccount(t: Finishing, scheme: keyof typeof sentences) {
  const stage = await openStage(t);
  await stage.redis.call("ACL", "SETUSER", "app", "reset", "on", ">secret", "+hello", "+ping", "+info", "+client");
  for (const rule of documentedRules(scheme)) {
    // Not every server has the commands that compare.
    const refused = await stage.redis.call("ACL", "SETUSER", "app", rule).catch((error: unknown) => error);
    if (refused instanceof Error) expect(rule, refused.message).toMatch(/^\+del(ex|ifeq)$/);
  }
  const manager = async (): Promise<LockManager> => {
    const client = stage.client(stage.server.url, { username: "app", password: "secret" });
    return stage.manager({ scheme, client });
  };
  const denied = async (): Promise<string[]> => ((await stage.redis.call("ACL", "LOG")) as unknown[]).map(String);
  return { stage, manager, denied };
}

test("an account with the documented rules can do all that the scheme lua does, and lacks nothing", async (t) => {
  expect(documentedRules("lua")).toContain("+evalsha");
  const { manager, denied } = await openAccount(t, "lua");
  const [a, b] = [await manager(), await manager()];
  const name = unique();
  const first = await hold(a, name);
  const waiters = [b.acquire(name), b.acquire(name), a.acquire(name, { mode: "shared" })];
  await until(async () => (await stateOf(a, name)).pending.length === 3, "three waited");
  await first.end();
  await Promise.all(waiters.map(async (waiter) => (await waiter).release()));
  await doTheRest(a, b, name);
  expect(await a.share(unique(), { ttl: 1_000 }, () => 7)).toBe(7);
  expect(await denied(), "what was refused").toEqual([]);
});

test("an account with the documented rules can do all that the scheme set does, and lacks nothing", async (t) => {
  expect(documentedRules("set")).toContain("+bitfield");
  const { manager, denied } = await openAccount(t, "set");
  const [a, b] = [await manager(), await manager()];
  const name = unique();
  const first = await hold(a, name);
  expect(await b.tryAcquire(name)).toBeNull();
  const waiter = b.acquire(name);
  await first.end();
  await (await waiter).release();
  await doTheRest(a, b, name);
  expect(await denied(), "what was refused").toEqual([]);
});

async function doTheRest(a: LockManager, b: LockManager, name: string): Promise<void> {
  const held = await a.acquire(name, { ttl: 3_000 });
  await held.extend(4_000);
  await b.request(name, { steal: true }, () => undefined);
  await until(() => !held.held, "the thief was noticed");
  const result = await a.once(unique(), { atMost: 1_000, atLeast: 50 }, () => 7);
  expect(result).toMatchObject({ ran: true, value: 7 });
  const moved = await b.attach(await (await a.acquire(unique())).detach());
  expect((await a.query("all")).held.map((each) => each.name)).toContain(moved.name);
  expect(await a.forceRelease(moved.name)).toHaveLength(1);
}
