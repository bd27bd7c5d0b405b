import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { contenderNamed, contenders } from "./contenders/index.ts";
import { chartOf } from "./lib/chart.ts";
import { now } from "./lib/clock.ts";
import { conduct } from "./lib/conductor.ts";
import { benchFolder, holdfastEntry } from "./lib/folders.ts";
import { readGuard, regressions, writeGuard } from "./lib/guard.ts";
import { busyPercent, describeMachine } from "./lib/machine.ts";
import { judgementsOf, jsonOf, markdownOf, show, summaryOf } from "./lib/report.ts";
import type { Results } from "./lib/results.ts";
import { Server } from "./lib/server.ts";
import { compileWorker } from "./lib/team.ts";
import { scenarioNamed, scenarios } from "./scenarios/index.ts";

const usage = `npm run bench -- [options]
  --quick                 shorter measurements, fewer scenarios, rounds and contenders
  --only a,b              these scenarios: ${scenarios.map(({ name }) => name).join(", ")}
  --contenders a,b        these contenders: ${contenders.map(({ id }) => id).join(", ")}
  --rounds n              as many rounds of every scenario
  --out folder            where results go (default bench/results for a full run, bench/results/tmp for a part of one)
  --guard                 compare the ratios with results/guard.json; exit 1 if one got worse
  --write-guard           write the ratios there`;

/** Those that the figures are against. */
const quickContenders = ["holdfast", "redlock5", "redis-semaphore", "bare-ioredis"];

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    contenders: { type: "string" },
    rounds: { type: "string" },
    out: { type: "string" },
    guard: { type: "boolean", default: false },
    "write-guard": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const mode = options.quick ? "quick" : "full";

if (options.help) console.log(usage);
else process.exitCode = await main();

async function main(): Promise<number> {
  const committed = options.guard ? await readGuard() : undefined;
  if (!existsSync(holdfastEntry)) throw new Error(`Expected ${holdfastEntry} to be there; run npm run build first.`);
  await compileWorker();
  const server = await Server.start();
  try {
    const usual = scenarios.filter(({ onlyFull }) => mode === "full" || !onlyFull);
    let results = await measure(server, options.only?.split(",").map(scenarioNamed) ?? usual);
    let worse = committed ? regressions(judgementsOf(results), committed) : [];
    if (committed && worse.length > 0) {
      const again = [...new Set(worse.map(({ judgement }) => judgement.figure.id.split(".")[0]!))];
      tell(`Worse than committed, measured once more: ${again.join(", ")}`);
      const second = await measure(server, again.map(scenarioNamed));
      worse = regressions(judgementsOf(second), committed);
      const replaced = new Map(second.scenarios.map((scenario) => [scenario.name, scenario]));
      results = { ...results, scenarios: results.scenarios.map((each) => replaced.get(each.name) ?? each) };
    }
    await write(results);
    console.log(summaryOf(results));
    if (options["write-guard"]) await writeGuard(judgementsOf(results));
    for (const { judgement, committed: before, limit } of worse) {
      const { figure, value } = judgement;
      console.log(`REGRESSION ${figure.id}: ${show(value)}; committed ${show(before)}, limit ${show(limit)}`);
    }
    if (committed && worse.length === 0) console.log("guard: nothing got worse");
    return worse.length > 0 ? 1 : 0;
  } finally {
    await server.stop();
  }
}

async function measure(server: Server, wanted: typeof scenarios): Promise<Results> {
  const start = now();
  const machine = describeMachine(await server.version());
  const ids = options.contenders?.split(",") ?? (options.quick ? quickContenders : contenders.map(({ id }) => id));
  const measured = [];
  const busy: number[] = [];
  for (const scenario of wanted) {
    busy.push(await busyPercent());
    const rounds = Number(options.rounds ?? scenario.rounds[mode]);
    const entries = await conduct({ scenario, contenders: ids.map(contenderNamed), rounds, mode, server, tell });
    measured.push({ name: scenario.name, entries });
  }
  return { at: new Date().toISOString(), mode, seconds: (now() - start) / 1_000, machine, busy, scenarios: measured };
}

async function write(results: Results): Promise<void> {
  // What is committed comes from full runs only.
  const isWhole = mode === "full" && !options.only && !options.contenders && !options.rounds;
  const out = options.out ?? `${benchFolder}results${isWhole ? "" : "/tmp"}`;
  await mkdir(out, { recursive: true });
  await writeFile(`${out}/latest.json`, jsonOf(results));
  await writeFile(`${out}/latest.md`, markdownOf(results));
  const chart = await chartOf(results);
  if (chart) await writeFile(`${out}/chart.svg`, chart);
}

function tell(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else process.stderr.write(`${line}\n`);
}
