/** A checker that finds nothing checks nothing: each planted mistake is found, by the rule that it breaks. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { plant as Plant, MISTAKES } from "../../simulator/mistakes/mistakes.ts";
import type { drawPlan as Draw } from "../../simulator/plan/draw.ts";
import type { Servers } from "../../simulator/run/simulate.ts";
import { installBuiltins } from "../../simulator/world/builtins.ts";

/** Plans of ten virtual minutes that meet the mistake. */
const SEEDS: Readonly<Record<keyof typeof MISTAKES, string>> = {
  "fences that fall": "m1",
  "a newcomer overtakes the queue": "m1.1",
  "permits are not counted": "m1",
  "exclusive beside shared": "m2",
  "a release that lets nobody in": "m1",
  "a dead waiter is never passed over": "m1",
  "a lease that is not lengthened": "m1",
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

  it.each(Object.keys(SEEDS) as (keyof typeof MISTAKES)[])("finds %s, and nothing without it", async (name) => {
    const plan = drawPlan({ seed: SEEDS[name], scheme: "lua" });
    const control = await servers.run(plan);
    expect(control.verdict.violations).toEqual([]);
    const mend = plant(name);
    const { verdict } = await servers.run(plan).finally(mend);
    expect(verdict.violations.map(({ rule }) => rule)).toContain(mistakes[name].breaks);
  });
});
