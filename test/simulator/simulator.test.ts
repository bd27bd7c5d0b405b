import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installBuiltins } from "../../simulator/world/builtins.ts";
import type { Servers } from "../../simulator/run/simulate.ts";
import type { drawPlan as Draw, PlanTerms } from "../../simulator/plan/draw.ts";

/** The library must be loaded behind what it takes from its machine. */
let servers: Servers;
let drawPlan: typeof Draw;

beforeAll(async () => {
  installBuiltins();
  ({ drawPlan } = await import("../../simulator/plan/draw.ts"));
  servers = await (await import("../../simulator/run/simulate.ts")).Servers.start();
});

afterAll(() => servers.stop());

const short = (terms: Pick<PlanTerms, "seed" | "scheme">): PlanTerms => ({ ...terms, length: 60_000, faults: 200 });

describe("simulator", () => {
  it("gives the same history for the same seed, byte for byte", async () => {
    const plan = drawPlan(short({ seed: "twice", scheme: "lua" }));
    const first = await servers.run(plan);
    const second = await servers.run(plan);
    expect(first.holds).toBeGreaterThan(3);
    expect(second.history.lines).toEqual(first.history.lines);
  });

  it.each(["lua", "set"] as const)("keeps every promise on scheme %s while faults happen", async (scheme) => {
    const { verdict, holds } = await servers.run(drawPlan(short({ seed: "7", scheme })));
    expect(verdict.violations).toEqual([]);
    expect(holds).toBeGreaterThan(3);
  });
});
