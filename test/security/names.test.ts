/** Names and labels from strangers stay in their key, slot, message and terminal line; tokens stay out of messages. */
import { InMemorySpanExporter, BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import slotOf from "cluster-key-slot";
import { describe, expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { instrument } from "../../src/otel.ts";
import { useCommandLine } from "../support/cli.ts";
import { expectClear, HOSTILE_NAMES } from "../support/hostile.ts";
import { rejection } from "../support/locks.ts";
import { openStage } from "../support/stage.ts";

/** As labels they must be whole, and not too long. */
const labels = HOSTILE_NAMES.filter((name) => name !== "" && name.isWellFormed() && name.length <= 256);
const labelOf = (i: number): string => labels[i % labels.length]!;
const sorted = (names: readonly string[]): string[] => [...names].sort();
/** What a terminal would obey, or would not show. */
const OBEYED = /[\p{Cc}\u2028\u2029\u202e\u200b]/u;
const byUnits = (names: readonly (string | undefined)[]): string[] => sorted(names.map((name) => JSON.stringify(name)));

describe.each(["lua", "set", "redlock"] as const)("%s", (scheme) => {
  test("each hostile name is a lock of its own, with keys of its own in one slot, and is reported as it was given", async (t) => {
    const { redis, client } = await openStage(t);
    const open = (): LockManager =>
      scheme === "redlock" ? new LockManager([client()]) : new LockManager(client(), { scheme });
    const [locks, other] = [open(), open()];
    t.onTestFinished(async () => {
      await Promise.all([locks.close(), other.close()]);
    });
    let known = new Set(await redis.keys("*"));
    const held = [];
    for (const [i, name] of HOSTILE_NAMES.entries()) {
      const lock = await locks.acquire(name, { label: labelOf(i) });
      held.push(lock);
      expect(lock.name).toBe(name);
      const keys = (await redis.keys("*")).filter((key) => !known.has(key) && !/::node$|client:[\w-]{22}$/.test(key));
      for (const key of keys) expect(key, `a key of ${JSON.stringify(name)}`).toMatch(/^\{?lock:|^\uffff/);
      // The counter of fences is all locks'.
      const own = keys.filter((key) => !/^lock::(set:)?fence$/.test(key));
      expect(new Set(own.map((key) => slotOf(key))).size, JSON.stringify(own)).toBe(1);
      known = new Set([...known, ...keys]);
    }
    const states = (await other.query()).held;
    expect(byUnits(states.map(({ name }) => name))).toEqual(byUnits(HOSTILE_NAMES));
    for (const [i, name] of HOSTILE_NAMES.entries()) {
      const [state, ...more] = (await other.query({ name })).held;
      expect(more).toEqual([]);
      expect(state?.name).toBe(name);
      if (scheme !== "set") expect(state?.label).toBe(labelOf(i));
    }
    // Each is refused to others, and free once it is released: nothing but that name.
    for (const [i, lock] of held.entries()) {
      expect(await other.tryAcquire(HOSTILE_NAMES[i]!), JSON.stringify(HOSTILE_NAMES[i])).toBeNull();
      await lock.release();
      expect((await other.query()).held).toHaveLength(HOSTILE_NAMES.length - i - 1);
    }
  });
});

test("messages with hostile names are one clear line each, and neither they nor spans name a token", async (t) => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  t.onTestFinished(instrument({ tracerProvider: provider }));
  const { manager } = await openStage(t);
  const [locks, other] = [await manager(), await manager()];
  const tokens: string[] = [];
  const errors: unknown[] = [];
  for (const [i, name] of HOSTILE_NAMES.entries()) {
    const lock = await locks.acquire(name, { label: labelOf(i), ttl: 60_000 });
    tokens.push(lock.token);
    const refused = [
      other.acquire(name, { waitTimeout: 0 }),
      other.acquire(name, { maxQueue: 0 }),
      other.semaphore(name, 2).acquire({ waitTimeout: 0 }),
      other.acquire(name, { nobodyKnowsThis: 1 } as never),
      other.acquire(name, { label: 7 as never }),
      other.attach({ name, mode: "exclusive", token: lock.token, fence: lock.fence + 1, ttl: 50, remaining: 50 }),
    ];
    errors.push(...(await Promise.all(refused.map(rejection))));
    await other.forceRelease(name);
    errors.push(await rejection(lock.extend()), await rejection(lock.detach()));
    await lock.release();
    expect(() => other.assertHeld(name)).toThrow();
  }
  const spans = exporter.getFinishedSpans().map(({ name, attributes, events, status }) => ({
    name,
    attributes,
    events,
    status,
  }));
  expect(spans.length).toBeGreaterThan(HOSTILE_NAMES.length);
  for (const error of errors) expectClear(error);
  const said = [...errors.map((error) => (error as Error).message), JSON.stringify(spans)];
  // Not even a part that others could guess the rest of.
  const secrets = tokens.map((token) => token.slice(0, 12));
  for (const secret of secrets) expect(said.filter((each) => each.includes(secret))).toEqual([]);
});

describe("on the terminal", () => {
  const cli = useCommandLine();

  test("each lock is one line, whatever its name and label, and no line names a token", async (t) => {
    const locks = new LockManager(cli.redis);
    t.onTestFinished(() => locks.close());
    const held = [];
    for (const [i, name] of HOSTILE_NAMES.entries()) held.push(await locks.acquire(name, { label: labelOf(i) }));
    const { code, stdout, stderr } = await cli.run(["ls"]);
    expect([code, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(HOSTILE_NAMES.length + 1);
    for (const line of lines) expect(line).not.toMatch(OBEYED);
    for (const { token } of held) expect(stdout).not.toContain(token);
    const json = await cli.run(["ls", "--json"]);
    const names = (JSON.parse(json.stdout) as { name: string }[]).map(({ name }) => name);
    expect(byUnits(names)).toEqual(byUnits(HOSTILE_NAMES));
    expect(json.stdout.replaceAll("\n", "")).not.toMatch(OBEYED);
    for (const lock of held) await lock.release();
  });
});
