/** The library itself reports a server that may evict locks, once for each manager. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, test } from "vitest";
import type { LockEvents, LockManager } from "../../src/index.ts";
import { unique } from "../support/locks.ts";
import { openNodes } from "../support/nodes.ts";
import { type Finishing, calls, openStage } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** The troubles of the manager with that label, from now on. */
function troubles(t: Finishing, label: string): readonly LockEvents["holdfast:trouble"][] {
  const seen: LockEvents["holdfast:trouble"][] = [];
  const hear = (message: unknown): void => {
    const trouble = message as LockEvents["holdfast:trouble"];
    if (trouble.label === label) seen.push(trouble);
  };
  subscribe("holdfast:trouble", hear);
  t.onTestFinished(() => void unsubscribe("holdfast:trouble", hear));
  return seen;
}

async function lockSome(locks: LockManager): Promise<void> {
  for (const name of ["a", "b", "c"]) await locks.request(name, () => undefined);
}

test.each(["lua", "set"] as const)("scheme %s reports a policy that evicts locks, once", async (scheme) => {
  await withStage(async (t) => {
    const stage = await openStage(t);
    await stage.redis.config("SET", "maxmemory-policy", "volatile-lru", "maxmemory", "100mb");
    const label = unique();
    const seen = troubles(t, label);
    const locks = await stage.manager({ scheme, label });
    await lockSome(locks);
    await until(() => seen.length > 0, "the policy was reported");
    await lockSome(locks);
    expect(seen).toEqual([
      expect.objectContaining({
        operation: "examine",
        code: "evicts",
        name: "",
        token: "",
        scheme,
        prefix: "lock:",
        label,
      }),
    ]);
    expect(String(seen[0]?.error)).toContain("volatile-lru");
  });
});

test("Redlock reports it, if only one of its servers may evict locks", async () => {
  await withStage(async (t) => {
    const nodes = await openNodes(t);
    await nodes.redis[2]?.config("SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "100mb");
    const label = unique();
    const seen = troubles(t, label);
    await lockSome(await nodes.manager({ label }));
    await until(() => seen.length > 0, "the policy was reported");
    expect(seen).toMatchObject([{ code: "evicts", scheme: "redlock" }]);
  });
});

test("nothing is reported of noeviction, and nothing is asked while nobody listens", async () => {
  await withStage(async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    await lockSome(locks);
    const before = await calls(stage.redis, "info");
    const label = unique();
    const seen = troubles(t, label);
    await lockSome(await stage.manager({ label }));
    await until(async () => (await calls(stage.redis, "info")) > before + 1, "the server was asked");
    expect(seen).toEqual([]);
  });
});

/** For tests of a table, which have no context of their own. */
async function withStage(run: (t: Finishing) => Promise<void>): Promise<void> {
  const finish: (() => void | Promise<void>)[] = [];
  try {
    await run({ onTestFinished: (each) => void finish.unshift(each) });
  } finally {
    for (const each of finish) await each();
  }
}
