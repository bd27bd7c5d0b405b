/** `npm run chaos -- --help` */
import { appendFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { findServerBinary, readVersion } from "../scripts/servers.ts";
import { MISTAKES } from "../simulator/mistakes/mistakes.ts";
import { PROGRAM_MISTAKES } from "./client/spec.ts";
import { drawPlan, planLines } from "./plan/draw.ts";
import { TOPOLOGIES, type TopologyName } from "./plan/plan.ts";
import { type Outcome, run } from "./run/run.ts";

const HELP = `npm run chaos -- [--topology T] [--minutes N] [--seed S]

Client processes use holdfast on real servers while a seed decides what goes wrong: processes and servers are killed and
frozen, connections cut, replies lost, replicas promoted, slots moved, disks filled. Each process writes down what it asked
for, what it was granted and when it let go, by the clock that all of them share. Afterwards the checks compare that with
the promises of docs/guarantees.md. The command ends with 1 if one was broken, prints what happened around it, and keeps
the journals.

  --topology T     ${TOPOLOGIES.join(", ")} (default: one)
  --minutes N      how long faults happen (default: 2); about a minute more is calm, and must be served
  --seed S         the same seed, topology and minutes give the same plan (default: the time of day)
  --glide          let one client use Valkey GLIDE (not on sentinel and cluster)
  --plan           print the plan, and end
  --results FILE   add a line of JSON with the figures to FILE
  --keep           keep the journals of the processes in any case
  --mistake NAME   plant a mistake, which the checks must find; the command ends with 0 if they do:
                   in the program: ${PROGRAM_MISTAKES.join("; ")}
                   in the library: one of the simulator's (simulator/mistakes/mistakes.ts)

A plan decides what is tried; the operating system decides what comes of it. So a seed that has failed may pass the next
time. docs/chaos.md says what is checked, and what is excused.`;

const { values } = parseArgs({
  options: {
    topology: { type: "string", default: "one" },
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Date.now()) },
    glide: { type: "boolean", default: false },
    plan: { type: "boolean", default: false },
    results: { type: "string" },
    keep: { type: "boolean", default: false },
    mistake: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

function topologyOf(name: string): TopologyName {
  const topology = TOPOLOGIES.find((each) => each === name);
  if (topology) return topology;
  throw new RangeError(`--topology: expected one of ${TOPOLOGIES.join(", ")}; got ${name}`);
}

function minutesOf(text: string): number {
  const minutes = Number(text);
  if (minutes > 0 && minutes <= 600) return minutes;
  throw new RangeError(`--minutes: expected a number above 0 and up to 600; got ${text}`);
}

function mistakeOf(name: string | undefined): string | undefined {
  const known = [...PROGRAM_MISTAKES, ...Object.keys(MISTAKES)];
  if (name === undefined || known.includes(name)) return name;
  throw new RangeError(`--mistake: expected one of: ${known.join("; ")}. Got ${name}`);
}

function print({ broken, timelines, faults, exceptions, outcomes, ...figures }: Outcome): void {
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([what, times]) => `${what} ${times}`)
      .join(", ") || "none";
  for (const [what, value] of Object.entries(figures)) console.log(`${what}: ${value}`);
  console.log(`faults: ${list(faults)}`);
  console.log(`requests by outcome: ${list(outcomes)}`);
  console.log(`exceptions of the published list: ${list(exceptions)}`);
  for (const lines of timelines) console.log(`\n${lines.join("\n")}`);
  console.log(`broken rules: ${broken.length}`);
  for (const { rule, text } of broken.slice(0, 20)) console.log(`  ${rule}: ${text}`);
}

async function main(): Promise<boolean> {
  const mistake = mistakeOf(values.mistake);
  const minutes = minutesOf(values.minutes);
  const topology = topologyOf(values.topology);
  const { seed, glide } = values;
  if (glide && (topology === "sentinel" || topology === "cluster")) {
    throw new RangeError(
      `--glide: expected another topology than ${topology}, on which GLIDE finds servers past the proxies`,
    );
  }
  const plan = drawPlan({ topology, seed, minutes, glide });
  const lines = planLines(plan);
  if (values.plan) {
    console.log(lines.join("\n"));
    return true;
  }
  console.log(lines.slice(0, 1 + plan.clients.length).join("\n"));
  const outcome = await run({ plan, mistake, keeps: values.keep || undefined, say: (line) => console.log(line) });
  print(outcome);
  if (values.results !== undefined) {
    const { product, version } = await readVersion(await findServerBinary());
    const { timelines: _, ...figures } = outcome;
    const { fsync, replicas } = plan;
    const line = { topology, seed, minutes, glide, server: `${product} ${version}`, fsync, replicas, ...figures };
    await appendFile(values.results, `${JSON.stringify(line)}\n`);
  }
  return (outcome.broken.length === 0) === (mistake === undefined);
}

if (values.help) console.log(HELP);
else process.exitCode = (await main()) ? 0 : 1;
