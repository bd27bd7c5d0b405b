/**
 * `npm run simulate -- --seed S --hours H`: true managers on a true server, in virtual time, with faults by seed. Prints
 * the time line of the first seed that breaks a promise, and ends with 1 then.
 *
 *     --minutes N        for so many real minutes, instead of --hours
 *     --results FILE     add a line of JSON with the figures to this file
 *     --scheme lua,set   which schemes take turns (default: lua,set,redlock)
 *     --faults N         faults in an hour (default: drawn by seed)
 *     --crowd WHEN       whether everybody wants one lock: always, never, or sometimes (default: in one run of four)
 *     --readers          clients only share one lock, at the same moments, and nothing goes wrong
 *     --mistake NAME     with this mistake planted in the scripts
 *     --shrink FILE      if a promise is broken, look for a smaller plan that breaks it, and write it to this file
 *     --plan FILE        carry out the plan in this file, instead of drawing any
 *     --history          show the first run's time line in any case
 */
import { parseArgs } from "node:util";
import { installBuiltins } from "./world/builtins.ts";

installBuiltins();
const { plant } = await import("./mistakes/mistakes.ts");
const { replay, simulate } = await import("./run/simulate.ts");
const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now()) },
    hours: { type: "string" },
    minutes: { type: "string" },
    results: { type: "string" },
    shrink: { type: "string" },
    plan: { type: "string" },
    scheme: { type: "string", default: "lua,set,redlock" },
    faults: { type: "string" },
    crowd: { type: "string", default: "sometimes" },
    readers: { type: "boolean", default: false },
    mistake: { type: "string" },
    history: { type: "boolean", default: false },
  },
});
if (values.mistake !== undefined) plant(values.mistake);
const { plan } = values;
process.exitCode = (await (plan === undefined ? simulate(values) : replay(plan))) ? 0 : 1;
