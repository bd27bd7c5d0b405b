/**
 * Local turns under random operations of several processes. A failure prints its seed and the shortest sequence that
 * shows it; MODEL_SEED repeats it, MODEL_RUNS looks longer.
 */
import { AssertionError } from "node:assert";
import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { TurnsWorld } from "../support/turns-world.ts";
import type { TurnsStore } from "../support/turns.ts";

vi.mock("../../src/schemes/index.ts", () => ({
  openScheme: (store: TurnsStore, ...terms: Parameters<TurnsStore["open"]>) => store.open(...terms),
}));

type Step = (world: TurnsWorld) => Promise<unknown>;

/** A step that shrinks and prints as its parameters. */
interface Operation {
  readonly step: Step;
  readonly [fc.toStringMethod]: () => string;
}

function operation<T>(
  name: string,
  parameters: fc.Arbitrary<T>,
  step: (parameters: T) => Step,
): fc.Arbitrary<Operation> {
  return parameters.map((values) => ({
    step: step(values),
    [fc.toStringMethod]: () => `${name}(${fc.stringify(values)})`,
  }));
}

const client = fc.nat(2);
const index = fc.nat(20);
const terms = fc.record({
  mode: fc.constantFrom("exclusive" as const, "exclusive" as const, "shared" as const),
  ttl: fc.constantFrom(600, 600, 600, 5_000),
  renew: fc.boolean(),
});

const operations = fc.array(
  fc.oneof(
    {
      weight: 10,
      arbitrary: operation(
        "acquire",
        fc.tuple(client, terms, fc.integer({ min: 1, max: 4 })),
        ([by, how, many]) =>
          (world) =>
            world.acquire(by, how, many),
      ),
    },
    { weight: 8, arbitrary: operation("release", index, (i) => (world) => world.release(i)) },
    { weight: 3, arbitrary: operation("abort", index, (i) => (world) => world.abort(i)) },
    {
      weight: 2,
      arbitrary: operation(
        "extend",
        fc.tuple(index, fc.constantFrom(500, 3_000)),
        ([i, ttl]) =>
          (world) =>
            world.extend(i, ttl),
      ),
    },
    { weight: 1, arbitrary: operation("steal", client, (by) => (world) => world.steal(by)) },
    { weight: 1, arbitrary: operation("forceRelease", client, (by) => (world) => world.forceRelease(by)) },
    { weight: 2, arbitrary: operation("hold answers", client, (by) => (world) => world.holdAnswers(by)) },
    { weight: 1, arbitrary: operation("fail", client, (by) => (world) => world.fail(by)) },
    { weight: 1, arbitrary: operation("crash", client, (by) => (world) => world.crash(by)) },
    {
      weight: 6,
      arbitrary: operation("pass", fc.constantFrom(1, 10, 60, 250, 700, 6_000), (ms) => (world) => world.pass(ms)),
    },
  ),
  { maxLength: 40, size: "max" },
);

const numRuns = Number(process.env["MODEL_RUNS"] ?? 150);
const seed = process.env["MODEL_SEED"] === undefined ? {} : { seed: Number(process.env["MODEL_SEED"]) };

test(
  "one holder at a time, growing fences, order inside each process, and everybody is served, whatever is done",
  async () => {
    await fc.assert(
      fc.asyncProperty(operations, async (steps) => {
        const world = new TurnsWorld();
        for (const { step } of steps) await step(world);
        await world.end();
      }),
      { numRuns, ...seed },
    );
  },
  numRuns * 200 + 5_000,
);

test("the comparison is not blind: two holders at a time are found", async () => {
  const world = new TurnsWorld();
  await world.acquire(0, { mode: "exclusive", ttl: 600, renew: true }, 1);
  const { holders } = world.stage.store.load("lock:a", "a");
  holders.delete(holders.first!);
  const second = world.acquire(1, { mode: "exclusive", ttl: 600, renew: true }, 1);
  await expect(second).rejects.toBeInstanceOf(AssertionError);
  assert.equal(world.stage.granted.length, 2);
});
