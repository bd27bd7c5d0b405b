/** `npm run simulate -- --seed S --hours H`: see docs/simulator.md. */
import { parseArgs } from "node:util";
import { installBuiltins } from "./world/builtins.ts";

installBuiltins();
const { simulate } = await import("./run/simulate.ts");
const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now()) },
    hours: { type: "string", default: "10" },
    scheme: { type: "string", default: "lua,set" },
    faults: { type: "string" },
    history: { type: "boolean", default: false },
  },
});
process.exitCode = (await simulate(values)) ? 0 : 1;
