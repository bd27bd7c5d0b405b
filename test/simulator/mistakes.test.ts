/** A checker that finds nothing checks nothing: each planted mistake is found, by the rule that it breaks. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hunt } from "../../simulator/mistakes/found.ts";
import type { Found } from "../../simulator/mistakes/found.ts";
import { MISTAKES, mistakeOf } from "../../simulator/mistakes/mistakes.ts";
import type { Outcome } from "../../simulator/run/fleet.ts";
import type { Servers } from "../../simulator/run/simulate.ts";
import { installBuiltins } from "../../simulator/world/builtins.ts";

/** Where `npm run simulate:mistakes` has found each: ten virtual minutes. */
const results = new URL("../../simulator/results/mistakes.json", import.meta.url);
const FOUND = JSON.parse(readFileSync(results, "utf8")) as Readonly<Record<string, Found>>;
const names = Object.keys(MISTAKES);

const seedOf = (name: string): string => FOUND[name]?.seed ?? "m";

describe.runIf(process.env["HOLDFAST_LONG"] !== undefined)(
  "simulator with a planted mistake",
  { timeout: 60_000 },
  () => {
    let servers: Servers;
    let run: (name: string, isPlanted: boolean) => Promise<Outcome>;

    beforeAll(async () => {
      // The library must be loaded behind what it takes from its machine.
      installBuiltins();
      const { drawPlan } = await import("../../simulator/plan/draw.ts");
      const { plant } = await import("../../simulator/mistakes/mistakes.ts");
      servers = await (await import("../../simulator/run/simulate.ts")).Servers.start();
      run = (name, isPlanted) => {
        const { scheme, faults, crowd = false, readers = false } = mistakeOf(name);
        const plan = drawPlan({
          seed: seedOf(name),
          scheme,
          crowd,
          readers,
          ...(faults === undefined ? {} : { faults }),
        });
        const mend = isPlanted ? plant(name) : (): void => {};
        return servers.run(plan).finally(mend);
      };
    });

    afterAll(() => servers.stop());

    it("knows at least twenty of them", () => {
      expect(Object.keys(FOUND).sort()).toEqual([...names].sort());
      expect(names.length).toBeGreaterThanOrEqual(20);
    });

    it.each(names.filter((name) => mistakeOf(name).file === undefined))("finds %s, in the scripts", async (name) => {
      const { verdict } = await run(name, true);
      expect(verdict.violations.map(({ rule }) => rule)).toContain(mistakeOf(name).breaks);
    });

    it.each(names.filter((name) => mistakeOf(name).file !== undefined))("finds %s, in the code", async (name) => {
      const { isFound, rules } = await hunt(name, { seed: seedOf(name), hours: "0.1" });
      expect(rules).toContain(mistakeOf(name).breaks);
      expect(isFound).toBe(true);
    });

    it("finds nothing in the same plans without the mistakes", async () => {
      const plans = new Map(
        names.map((name) => [
          `${seedOf(name)} ${mistakeOf(name).scheme} ${mistakeOf(name).faults} ${mistakeOf(name).crowd} ${mistakeOf(name).readers}`,
          name,
        ]),
      );
      for (const name of plans.values()) {
        const { verdict } = await run(name, false);
        expect(verdict.violations, `without ${name}`).toEqual([]);
      }
    }, 180_000);

    it("reports a lease that is lost on a healthy server", async () => {
      const { verdict } = await run("a lease that is not lengthened", true);
      expect(verdict.violations.map(({ text }) => text).join("\n")).toContain("LockLostError");
    });
  },
);
