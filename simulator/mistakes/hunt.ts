/**
 * `npm run simulate:mistakes -- [NAME …]`: plants one mistake after the other, and runs the simulator until it finds it.
 * Writes how long that took to simulator/results/mistakes.json, and ends with 1 if one was not found by its rule.
 *
 *     --hours H   how many virtual hours each may take (default: 20)
 *     --seed S    where the seeds begin (default: m)
 */
import { parseArgs } from "node:util";
import { readFile, writeFile } from "node:fs/promises";
import { hunt } from "./found.ts";
import type { Found } from "./found.ts";
import { MISTAKES } from "./mistakes.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { hours: { type: "string", default: "20" }, seed: { type: "string", default: "m" } },
});
const RESULTS = new URL("../results/mistakes.json", import.meta.url);
const known = JSON.parse(await readFile(RESULTS, "utf8").catch(() => "{}")) as Record<string, Found>;
for (const name of positionals.length > 0 ? positionals : Object.keys(MISTAKES)) {
  const found = await hunt(name, values);
  known[name] = found;
  const how = found.isFound ? `${found.hours.toFixed(2)} virtual hours, seed ${found.seed}` : "not found";
  console.log(`${name}: ${how}; ${found.rules.join(", ")}`);
  if (!found.isFound) process.exitCode = 1;
  const inOrder = Object.keys(MISTAKES).flatMap((each) => (known[each] ? [[each, known[each]]] : []));
  await writeFile(RESULTS, `${JSON.stringify(Object.fromEntries(inOrder), undefined, 2)}\n`);
}
