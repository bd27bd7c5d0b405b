/**
 * What users reported of lock libraries, replayed with each of them: `npm run peers [-- [--only SCENARIO] [--with LIBRARY]]`.
 * Writes proof/peers/results.json (with `--with` it writes nothing), from which `npm run generate:proof` makes the table of docs/proof.md.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { findServerBinary, readVersion } from "../../scripts/servers.ts";
import type { Contender } from "./contender.ts";
import { contenders } from "./contenders.ts";
import type { Result, Results } from "./results.ts";
import type { Scenario, Seen } from "./scenario.ts";
import { scenarios } from "./scenarios.ts";

const PATIENCE = 60_000;
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

const { values } = parseArgs({
  options: { only: { type: "string", multiple: true }, with: { type: "string", multiple: true } },
});

function versionOf({ package: name }: Contender): string {
  const file = name === undefined ? "../../package.json" : `../../node_modules/${name}/package.json`;
  return (JSON.parse(readFileSync(here(file), "utf8")) as { version: string }).version;
}

function isFor({ needs }: Scenario, { id, canAbort }: Contender): boolean {
  if (needs === "hold") return id !== "redlock4";
  if (needs === "permit") return id === "holdfast" || id === "redis-semaphore";
  if (needs === "abort") return canAbort;
  return true;
}

/** In a process of its own, which may die or hang. */
async function run(scenario: Scenario, contender: Contender): Promise<Seen | null> {
  if (!isFor(scenario, contender)) return null;
  const args = ["--import", "tsx", here("run-one.ts"), scenario.id, contender.id];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: PATIENCE, killSignal: "SIGKILL" });
    return JSON.parse(stdout.trim().split("\n").at(-1)!) as Seen;
  } catch (error) {
    const { killed, stderr = "" } = error as { killed?: boolean; stderr?: string };
    const why = /^\w*Error: .*$/m.exec(stderr)?.[0] ?? stderr.slice(0, 200);
    return { survives: false, saw: killed ? `did not end within ${PATIENCE / 1_000} s` : `the process died: ${why}` };
  }
}

const file = here("results.json");
const { product, version } = await readVersion(await findServerBinary());

/** Those that were not run stay as they were. */
function write(result: Result): void {
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Results).results : [];
  const results = new Map([...known, result].map((each) => [each.id, each]));
  const all: Results = {
    server: `${product} ${version}`,
    node: process.version,
    contenders: contenders.map((each) => ({
      id: each.id,
      title: each.title,
      version: versionOf(each),
      settings: each.settings,
    })),
    results: scenarios.flatMap(({ id }) => results.get(id) ?? []),
  };
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`);
}

for (const scenario of scenarios) {
  if (values.only && !values.only.includes(scenario.id)) continue;
  const { id, title, reported, expected } = scenario;
  const seen: Record<string, Seen | null> = {};
  for (const contender of contenders) {
    if (values.with && !values.with.includes(contender.id)) continue;
    const one = (seen[contender.id] = await run(scenario, contender));
    const mark = one === null ? "-" : one.survives ? "survives" : "DOES NOT";
    console.log(`${id}  ${contender.id}: ${mark}  ${one?.saw ?? ""}`);
    // This project has to survive all of them.
    if (contender.id === "holdfast" && one?.survives === false) process.exitCode = 1;
  }
  if (!values.with) write({ id, title, reported, expected, seen });
}
