/** What docs/protocol.md says that an account needs is what it needs. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { LockManager } from "../src/index.ts";
import { hold, stateOf, unique } from "./support/locks.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

const protocol = readFileSync(new URL("../docs/protocol.md", import.meta.url), "utf8");

/** The rules in the first sentence about accounts: key patterns, channels, commands, and the one for `query`. */
function documentedRules(): string[] {
  const sentence = /An account needs the key patterns .*$/m.exec(protocol)?.[0] ?? "";
  return sentence.split("`").filter((each) => /^[~&+]/.test(each));
}

test("an account with the documented rules can do all that the scheme lua does, and lacks nothing", async (t) => {
  const stage = await openStage(t);
  const rules = documentedRules().flatMap((each) => each.split(" "));
  expect(rules).toContain("+evalsha");
  await stage.redis.call(
    "ACL",
    "SETUSER",
    "app",
    "reset",
    "on",
    ">secret",
    "+hello",
    "+ping",
    "+info",
    "+client",
    ...rules,
  );
  const open = async (): Promise<LockManager> => {
    const url = new URL(stage.server.url);
    const client = new Redis({ host: url.hostname, port: Number(url.port), username: "app", password: "secret" });
    client.on("error", () => {});
    const locks = new LockManager(client);
    t.onTestFinished(async () => {
      await locks.close();
      client.disconnect();
    });
    return locks;
  };
  const [a, b] = [await open(), await open()];
  const name = unique();
  const first = await hold(a, name);
  const waiters = [b.acquire(name), b.acquire(name), a.acquire(name, { mode: "shared" })];
  await until(async () => (await stateOf(a, name)).pending.length === 3, "three waited");
  await first.end();
  await Promise.all(waiters.map(async (waiter) => (await waiter).release()));

  const held = await a.acquire(name, { ttl: 1_000 });
  await held.extend(2_000);
  await b.request(name, { steal: true }, () => undefined);
  await until(() => !held.held, "the thief was noticed");
  const result = await a.once(unique(), { atMost: 1_000, atLeast: 50 }, () => 7);
  expect(result).toMatchObject({ ran: true, value: 7 });
  const moved = await b.attach(await (await a.acquire(unique())).detach());
  expect((await a.query("all")).held.map((each) => each.name)).toContain(moved.name);
  expect(await a.forceRelease(moved.name)).toHaveLength(1);

  const denied = (await stage.redis.call("ACL", "LOG")) as unknown[];
  expect(denied.map(String), "what was refused").toEqual([]);
});
