/** A checker that finds nothing checks nothing: each planted mistake is found, by the rule that it breaks. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { plant as Plant, MISTAKES } from "../../simulator/mistakes/mistakes.ts";
import type { drawPlan as Draw, PlanTerms } from "../../simulator/plan/draw.ts";
import type { Servers } from "../../simulator/run/simulate.ts";
import { installBuiltins } from "../../simulator/world/builtins.ts";

/** Ten virtual minutes each, in which the mistake matters. */
const PLANS: Readonly<Record<keyof typeof MISTAKES, Omit<PlanTerms, "scheme">>> = {
  "fences that fall": { seed: "m1" },
  "a newcomer overtakes the queue": { seed: "m1.1" },
  "permits are not counted": { seed: "m1" },
  "exclusive beside shared": { seed: "m2" },
  "a release that lets nobody in": { seed: "m1" },
  "a dead waiter is never passed over": { seed: "d1.6", faults: 400 },
  "a lease that is not lengthened": { seed: "m1" },
};

describe.runIf(process.env["HOLDFAST_LONG"] !== undefined)("simulator with a planted mistake", () => {
  let servers: Servers;
  let drawPlan: typeof Draw;
  let plant: typeof Plant;
  let mistakes: typeof MISTAKES;

  beforeAll(async () => {
    installBuiltins();
    ({ drawPlan } = await import("../../simulator/plan/draw.ts"));
    ({ plant, MISTAKES: mistakes } = await import("../../simulator/mistakes/mistakes.ts"));
    servers = await (await import("../../simulator/run/simulate.ts")).Servers.start();
  });

  afterAll(() => servers.stop());

  it.each(Object.keys(PLANS) as (keyof typeof MISTAKES)[])("finds %s, and nothing without it", async (name) => {
    const plan = drawPlan({ ...PLANS[name], scheme: "lua" });
    const control = await servers.run(plan);
    expect(control.verdict.violations).toEqual([]);
    const mend = plant(name);
    const { verdict } = await servers.run(plan).finally(mend);
    expect(verdict.violations.map(({ rule }) => rule)).toContain(mistakes[name].breaks);
  });

  it("reports a lease that is lost on a healthy server", async () => {
    const mend = plant("a lease that is not lengthened");
    const plan = drawPlan({ ...PLANS["a lease that is not lengthened"], scheme: "lua" });
    const { verdict } = await servers.run(plan).finally(mend);
    expect(verdict.violations.map(({ text }) => text).join("\n")).toContain("LockLostError");
  });
});
