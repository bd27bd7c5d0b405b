/** Short runs: the same seed gives the same plan, and mistakes in programs and in the library are found. */
import { describe, expect, it } from "vitest";
import { drawPlan, planLines } from "../../chaos/plan/draw.ts";
import { TOPOLOGIES } from "../../chaos/plan/plan.ts";
import { run } from "../../chaos/run/run.ts";

describe("a plan of chaos", () => {
  it.each(TOPOLOGIES)("is decided by its seed (%s)", (topology) => {
    const lines = (seed: string): string[] => planLines(drawPlan({ topology, seed, minutes: 5 }));
    expect(lines("1")).toEqual(lines("1"));
    expect(lines("1")).not.toEqual(lines("2"));
    expect(lines("1").length).toBeGreaterThan(100);
  });

  it("has only the faults and the ttl that it is limited to", () => {
    const only = ["freeze client"] as const;
    const { steps, clients } = drawPlan({ topology: "one", seed: "1", minutes: 5, only, ttl: 4_000 });
    expect(new Set(steps.map(({ fault }) => fault.fault))).toEqual(new Set(only));
    expect(new Set(clients.map(({ ttl }) => ttl))).toEqual(new Set([4_000]));
  });
});

describe.runIf(process.env["HOLDFAST_LONG"] !== undefined)("chaos with a mistake", { timeout: 120_000 }, () => {
  it.each([
    ["releases without a token", "one holder"],
    ["permits are not counted", "permits"],
    ["fences that fall", "growing fences"],
  ] as const)("finds it: %s", async (mistake, rule) => {
    const plan = drawPlan({ topology: "one-aof", seed: "m", minutes: 0.1, calm: 2_000 });
    const { broken } = await run({ plan, mistake, keeps: false, say: () => {} });
    expect(broken.map((each) => each.rule)).toContain(rule);
  });
});
