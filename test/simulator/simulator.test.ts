import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installBuiltins } from "../../simulator/world/builtins.ts";
import type { Servers } from "../../simulator/run/simulate.ts";
import type { Plan } from "../../simulator/plan/plan.ts";
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

/** Each has found something, in the library or in the checks; what, says docs/proof.md. */
const KEPT = [
  ["h1.1", "set"],
  ["fifth.1", "set"],
  ["second.5", "set"],
  ["s1.5.13", "set"],
  ["n12.4", "lua"],
  ["n1.6", "lua"],
  ["09169fc44b2f.58", "lua"],
  ["perf.16", "lua"],
  ["third.2", "lua"],
  ["s3.2.5", "set"],
  ["12fa4300720e.31", "set", "crowd"],
  ["12fa4300720e.31.46", "set"],
  ["n1128t.85", "set"],
  ["c.20", "redlock"],
  ["q1", "redlock", "crowd"],
  ["p7.11", "redlock", "crowd"],
  ["b279cc.27", "redlock", "crowd"],
  ["d425ff3863cd.39", "lua", "crowd"],
  ["c5e5d4eb5ce3.123", "lua", "crowd"],
  ["b491dc.22", "redlock", "crowd"],
  ["b3b505.57", "set"],
  ["cc45a59.53", "redlock"],
  ["n1128b.101", "redlock"],
  ["e1.15", "redlock", "crowd"],
  ["e3.13", "redlock", "crowd"],
  ["201682f3b86a.47", "redlock", "crowd"],
] as const;

const short = (terms: Pick<PlanTerms, "seed" | "scheme">): PlanTerms => ({ ...terms, length: 60_000, faults: 200 });

describe("simulator", { timeout: 60_000 }, () => {
  it.each(["lua", "redlock"] as const)(
    "gives the same history for the same seed, byte for byte: %s",
    async (scheme) => {
      const plan = drawPlan(short({ seed: "twice", scheme }));
      const first = await servers.run(plan);
      const second = await servers.run(plan);
      expect(first.holds).toBeGreaterThan(3);
      expect(second.history.lines).toEqual(first.history.lines);
    },
  );

  it("makes a failing plan smaller, and the smaller one fails again", async () => {
    const { plant } = await import("../../simulator/mistakes/mistakes.ts");
    const { shrink } = await import("../../simulator/run/shrink.ts");
    const mend = plant("permits are not counted");
    try {
      const plan = drawPlan({ seed: "m", scheme: "lua", length: 120_000, faults: 200 });
      const { outcome } = await shrink(await servers.run(plan), (each) => servers.run(each));
      expect(plan.steps.length).toBeGreaterThan(40);
      expect(outcome.plan.steps.length).toBeLessThanOrEqual(3);
      expect(outcome.plan.clients.length).toBeLessThanOrEqual(2);
      // A plan is data, and can be kept as a file.
      const again = await servers.run(JSON.parse(JSON.stringify(outcome.plan)) as Plan);
      expect(again.verdict.violations.map(({ rule }) => rule)).toContain("permits");
      expect(again.history.lines).toEqual(outcome.history.lines);
    } finally {
      mend();
    }
  });

  it.runIf(process.env["HOLDFAST_LONG"] !== undefined).each(KEPT)(
    "keeps every promise where it once broke one: seed %s, scheme %s",
    async (seed, scheme, crowd?: "crowd") => {
      const { verdict } = await servers.run(drawPlan({ seed, scheme, crowd: crowd !== undefined }));
      expect(verdict.violations).toEqual([]);
    },
  );

  it.each(["lua", "set", "redlock"] as const)(
    "keeps every promise on scheme %s while faults happen",
    async (scheme) => {
      const { verdict, holds } = await servers.run(drawPlan(short({ seed: "7", scheme })));
      expect(verdict.violations).toEqual([]);
      expect(holds).toBeGreaterThan(3);
    },
  );
});
