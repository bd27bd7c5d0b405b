/**
 * `npm run chaos:mistakes -- [NAME …]`: plants one mistake after the other, in the programs or in the library, and runs
 * until the checks find it by the rule that it breaks. Writes to chaos/results/mistakes.json how long that took, and
 * ends with 1 if one was not found.
 *
 *     --runs N   how many runs each may take (default: 4)
 *     --seed S   where the seeds begin (default: m)
 */
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { drawPlan } from "../plan/draw.ts";
import { run } from "../run/run.ts";
import { PLANTED, type Planted } from "./planted.ts";

/** How long faults happen in one run, in minutes. */
const MINUTES = 0.4;
const RESULTS = new URL("../results/mistakes.json", import.meta.url);

interface Found {
  readonly isFound: boolean;
  readonly rules: readonly string[];
  readonly minutes: number;
  readonly seed: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "4" }, seed: { type: "string", default: "m" } },
});

async function hunt({ name, topology, breaks, only, calm = 5_000, ttl }: Planted): Promise<Found> {
  const rules = new Set<string>();
  let seed = values.seed;
  for (let i = 0; i < Number(values.runs); i++) {
    seed = i === 0 ? values.seed : `${values.seed}.${i}`;
    const plan = drawPlan({ topology, seed, minutes: MINUTES, calm, ...(only && { only }), ...(ttl && { ttl }) });
    const { broken } = await run({ plan, mistake: name, keeps: false, say: () => {} });
    for (const { rule } of broken) rules.add(rule);
    if (rules.has(breaks)) return { isFound: true, rules: [...rules], minutes: (i + 1) * MINUTES, seed };
  }
  return { isFound: false, rules: [...rules], minutes: Number(values.runs) * MINUTES, seed };
}

const known = JSON.parse(await readFile(RESULTS, "utf8").catch(() => "{}")) as Record<string, Found>;
for (const planted of PLANTED.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const found = await hunt(planted);
  known[planted.name] = found;
  console.log(
    `${planted.name}: ${found.isFound ? "found" : "not found"}, seed ${found.seed}; ${found.rules.join(", ")}`,
  );
  if (!found.isFound) process.exitCode = 1;
  const inOrder = PLANTED.flatMap(({ name }) => (known[name] ? [[name, known[name]]] : []));
  await writeFile(RESULTS, `${JSON.stringify(Object.fromEntries(inOrder), undefined, 2)}\n`);
}
