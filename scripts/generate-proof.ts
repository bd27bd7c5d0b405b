/**
 * Writes the figures of docs/proof.md from committed results: simulator/results/, chaos/results/, model/results/,
 * mutation/, proof/peers/ and proof/coverage.json. With `--check` it only looks whether they are those.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { PLANTED } from "../chaos/mistakes/planted.ts";
import { TOPOLOGIES } from "../chaos/plan/plan.ts";
import { equivalents, type Figures } from "../mutation/report.ts";
import type { Results } from "../proof/peers/results.ts";
import type { Seen } from "../proof/peers/scenario.ts";
import type { Coverage } from "./coverage.ts";
import { MISTAKES } from "../simulator/mistakes/mistakes.ts";

interface Run {
  readonly seed: string;
  readonly schemes: readonly string[];
  readonly server: string;
  readonly runs: number;
  readonly hours: number;
  readonly commands: number;
  readonly holds: number;
  readonly operations: number;
  readonly accepted: number;
  readonly refused: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly exceptions: Readonly<Record<string, number>>;
  readonly cpuMinutes: number;
  readonly broken?: readonly { readonly rule: string; readonly text: string }[];
}

interface Found {
  readonly isFound: boolean;
  readonly rules: readonly string[];
  readonly hours: number;
  readonly seed: string;
}

interface ChaosRun {
  readonly topology: string;
  readonly seed: string;
  readonly minutes: number;
  readonly server: string;
  readonly fsync?: string;
  readonly replicas: number;
  readonly operations: number;
  readonly grants: number;
  readonly accepted: number;
  readonly refused: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly longestWait: number;
  readonly longestWaitInVain: number;
  readonly exceptions: Readonly<Record<string, number>>;
  readonly broken: readonly { readonly rule: string; readonly text: string }[];
}

interface Soak {
  readonly minutes: number;
  readonly server: string;
  readonly operations: number;
  readonly managers: number;
  readonly followed: number;
  readonly lost?: number;
  readonly uncollected: number;
  readonly grown: readonly string[];
  readonly samples: readonly Readonly<Record<string, number>>[];
}

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const number = (value: number): string => Math.round(value).toLocaleString("en");
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

function summed<T>(calls: readonly T[], of: (call: T) => Readonly<Record<string, number>>): string {
  const sums = new Map<string, number>();
  for (const call of calls) {
    for (const [what, times] of Object.entries(of(call))) sums.set(what, (sums.get(what) ?? 0) + times);
  }
  const sorted = [...sums].sort(([, a], [, b]) => b - a);
  return sorted.map(([what, times]) => `${what} ${number(times)}`).join(", ") || "none";
}

/** What was run: one line of the file for each call of the simulator. */
function figures(): string {
  const all = read("simulator/results/runs.jsonl").trim().split("\n");
  const calls = all.map((line) => JSON.parse(line) as Run);
  const sum = (of: (run: Run) => number): string => number(calls.reduce((total, run) => total + of(run), 0));
  const broken = calls.flatMap(({ broken: found = [] }) => found);
  return table(
    ["what", "how much"],
    [
      ["servers", [...new Set(calls.map(({ server }) => server))].join(", ")],
      ["schemes", [...new Set(calls.flatMap(({ schemes }) => schemes))].join(", ")],
      ["first seeds", calls.map(({ seed }) => `\`${seed}\``).join(", ")],
      ["plans, each of a fleet of five clients for ten minutes", sum(({ runs: count }) => count)],
      ["virtual hours", sum(({ hours }) => hours)],
      ["operations of programs", sum(({ operations }) => operations)],
      ["commands that the server carried out", sum(({ commands }) => commands)],
      ["holders", sum(({ holds }) => holds)],
      ["guarded writes accepted, refused", `${sum(({ accepted }) => accepted)}, ${sum(({ refused }) => refused)}`],
      ["faults", summed(calls, ({ faults }) => faults)],
      ["exceptions of the published list, by cause", summed(calls, ({ exceptions }) => exceptions)],
      ["broken rules", broken.length === 0 ? "0" : broken.map(({ rule, text }) => `${rule}: ${text}`).join("; ")],
    ],
  );
}

function mistakes(): string {
  const found = JSON.parse(read("simulator/results/mistakes.json")) as Record<string, Found>;
  const rows = Object.entries(MISTAKES).map(([name, mistake]) => {
    const where = "file" in mistake ? `src/${mistake.file}` : "scripts";
    const result = found[name];
    if (!result?.isFound) return [name, where, mistake.scheme, mistake.breaks, "not found", ""];
    return [name, where, mistake.scheme, mistake.breaks, result.hours.toFixed(1), `\`${result.seed}\``];
  });
  return table(["mistake", "where", "scheme", "broken rule", "virtual hours until found", "seed"], rows);
}

function models(): string {
  const cases = JSON.parse(read("model/results/one-server.json")) as {
    title: string;
    states: number;
    found?: string;
  }[];
  const rows = cases.map(({ title, states, found }) => [title, number(states), found ?? "holds"]);
  return table(["case, or planted mistake", "states", "result"], rows);
}

const totalOf = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, each) => sum + each, 0);

const longest = (milliseconds: readonly number[]): string => `${(Math.max(...milliseconds) / 1_000).toFixed(1)} s`;

/** What chaos has shown: one line of the file for each run. */
function chaos(): string {
  const all = read("chaos/results/runs.jsonl").trim().split("\n");
  const runs = all.map((line) => JSON.parse(line) as ChaosRun);
  const row = (title: string, some: readonly ChaosRun[]): string[] => {
    const sum = (of: (run: ChaosRun) => number): string => number(some.reduce((total, run) => total + of(run), 0));
    const broken = some.flatMap(({ broken: found }) => found);
    return [
      title,
      sum(({ minutes }) => minutes),
      sum(({ operations }) => operations),
      sum(({ grants }) => grants),
      `${sum(({ accepted }) => accepted)}, ${sum(({ refused }) => refused)}`,
      sum(({ faults }) => totalOf(faults)),
      longest(some.map(({ longestWait }) => longestWait)),
      longest(some.map(({ longestWaitInVain }) => longestWaitInVain)),
      summed(some, ({ exceptions }) => exceptions),
      broken.length === 0 ? "0" : broken.map(({ rule, text }) => `${rule}: ${text}`).join("; "),
    ];
  };
  const rows = TOPOLOGIES.flatMap((topology) => {
    const some = runs.filter((run) => run.topology === topology);
    const seeds = some.map(({ seed }) => `\`${seed}\``).join(", ");
    return some.length === 0 ? [] : [row(`\`${topology}\`, seeds ${seeds}`, some)];
  });
  const head = [
    "topology",
    "minutes",
    "requests",
    "grants",
    "guarded writes accepted, refused",
    "faults",
    "longest wait",
    "in vain",
    "exceptions",
    "broken rules",
  ];
  const servers = [...new Set(runs.map(({ server }) => server))].join(", ");
  const faults = summed(runs, (run) => run.faults);
  return `${table(head, [...rows, row("all", runs)])}\n\nServers: ${servers}. Faults: ${faults}.`;
}

function chaosMistakes(): string {
  const found = JSON.parse(read("chaos/results/mistakes.json")) as Record<string, Found & { minutes: number }>;
  const rows = PLANTED.map(({ name, breaks }) => {
    const result = found[name];
    const where = name in MISTAKES ? "library" : "program";
    return [name, where, breaks, result?.isFound ? result.minutes.toFixed(1) : "not found", `\`${result?.seed}\``];
  });
  return table(["mistake", "where", "broken rule", "minutes until found", "seed"], rows);
}

function soak(): string {
  const {
    minutes,
    server,
    operations,
    managers,
    followed,
    lost = 0,
    uncollected,
    grown,
    samples,
  } = JSON.parse(read("chaos/results/soak.json")) as Soak;
  const middle = (some: typeof samples, what: string): number => {
    const sorted = some.map((each) => each[what] ?? Number.NaN).toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  };
  const quarter = Math.floor(samples.length / 4);
  const measured = Object.keys(samples[0] ?? {}).filter((what) => what !== "at");
  const rows = measured.map((what) => [
    UNITS[what] ?? what,
    number(middle(samples.slice(quarter, 2 * quarter), what)),
    number(middle(samples.slice(-quarter), what)),
  ]);
  const words = `${minutes} minutes on ${server}: ${number(operations)} requests, ${number(managers)} managers came and went, ${number(followed)} released locks were followed, ${uncollected} of them not collected. Locks that were lost because the process stood still: ${number(lost)}. Grown: ${grown.join("; ") || "nothing"}.`;
  return `${table(["median of", "second quarter", "last quarter"], rows)}\n\n${words}`;
}

const UNITS: Readonly<Record<string, string>> = {
  heap: "heap, bytes",
  handles: "handles of the process",
  listeners: "listeners on the clients",
  serverMemory: "the server's memory, bytes",
  connections: "connections to the server",
  channels: "channels that are listened to",
  keys: "keys",
};

/** What users reported of lock libraries, replayed with each of them. */
function peers(): string {
  const { server, node, contenders, results } = JSON.parse(read("proof/peers/results.json")) as Results;
  const titles = contenders.map(({ title, version, id }) => (id === "holdfast" ? title : `${title} (${version})`));
  const mark = (seen: Seen | null | undefined): string => (seen ? (seen.survives ? "yes" : "**no**") : "–");
  const overview = table(
    ["what goes wrong", ...titles],
    results.map(({ title, seen }) => [title, ...contenders.map(({ id }) => mark(seen[id]))]),
  );
  const details = results.flatMap(({ title, reported, expected, seen }) => {
    const saw = contenders.flatMap(({ id, title: who }) => {
      const one = seen[id];
      return one ? [`  - ${who}: ${one.survives ? "" : "**no**, "}${one.saw.replaceAll("|", "\\|")}`] : [];
    });
    return [`- **${title}.** Survives if ${expected}. (${reported})`, ...saw];
  });
  const settings = contenders.map(({ title, settings: set }) => `${title}: ${set}`).join(". ");
  return `Run on ${server}, Node ${node}, with ioredis. Settings: ${settings}.\n\n${overview}\n\n<details><summary>What was seen</summary>\n\n${details.join("\n")}\n\n</details>`;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const code = (text: string): string => (text === "" ? "nothing" : `\`\` ${text.replaceAll("|", "\\|")} \`\``);

/** What tests notice of changes in the code. */
function mutation(): string {
  const results = JSON.parse(read("mutation/results.json")) as Figures;
  const rows = results.scores.map((each) => [
    each.area === "Lua" || each.area === "all" ? each.area : `\`${each.area}\``,
    number(each.mutants),
    number(each.tried),
    number(each.killed),
    number(each.timedOut),
    number(each.equivalent),
    number(each.survived),
    number(each.notCovered),
    percent(each.score),
    `${percent(each.from)} to ${percent(each.to)}`,
  ]);
  const head = ["where", "mutants", "tried", "killed", "endless", "equivalent", "survived", "not run", "score", "95 %"];
  const { date, server, node, stryker, seed, tests, leftOut, controls, controlsThatDied, survivors } = results;
  const words = `${date}, seed \`${seed}\`, ${server}, Node ${node}, mutants of TypeScript by Stryker ${stryker}. Tried with ${number(tests)} tests; ${number(leftOut)} were left out, because they failed or took longer than ${results.longest / 1_000} s. Of ${controls} controls, in which nothing was changed, ${controlsThatDied} died.`;
  const lines = survivors.map(
    ({ file, line, what, before, after, isCovered }) =>
      `- ${file}:${line}, ${what}: ${code(before)} → ${code(after)}${isCovered ? "" : " (not run)"}`,
  );
  const listed = equivalents().map(
    ({ file, line, before, after, reason }) => `- ${file}:${line}: ${code(before)} → ${code(after)}. ${reason}`,
  );
  const details = (title: string, all: readonly string[]): string =>
    `<details><summary>${title}</summary>\n\n${all.join("\n") || "None."}\n\n</details>`;
  return [table(head, rows), words, details("Who survived", lines), details("Who is equivalent, and why", listed)].join(
    "\n\n",
  );
}

function coverage(): string {
  const { date, server, node, lines, covered, files, note, folders, below } = JSON.parse(
    read("proof/coverage.json"),
  ) as Coverage;
  const words = `The tests run ${percent(covered / lines)} of the ${number(lines)} lines in ${number(files)} files of src/ (${date}, ${server}, Node ${node}). ${note}`;
  const rows = folders.map((each) => [
    `\`src/${each.folder}\``,
    number(each.lines),
    percent(each.lines === 0 ? 1 : each.covered / each.lines),
  ]);
  const worst = below.map(({ file, percent: run }) => `- ${file}: ${run.toFixed(1)} %`);
  const details = `<details><summary>Files of which less than 95 % are run</summary>\n\n${worst.join("\n")}\n\n</details>`;
  return `${words.trim()}\n\n${table(["folder", "lines", "run"], rows)}\n\n${details}`;
}

const PAGE = new URL("../docs/proof.md", import.meta.url);
const before = readFileSync(PAGE, "utf8");
let after = before;
const BLOCKS = {
  runs: figures(),
  mistakes: mistakes(),
  models: models(),
  chaos: chaos(),
  "chaos mistakes": chaosMistakes(),
  soak: soak(),
  peers: peers(),
  mutation: mutation(),
  coverage: coverage(),
};
for (const [name, text] of Object.entries(BLOCKS)) {
  const block = new RegExp(`(<!-- ${name} -->\n)[^]*?(\n<!-- end -->)`);
  if (!block.test(after)) throw new Error(`docs/proof.md has no block "${name}".`);
  after = after.replace(block, (_, begin: string, end: string) => `${begin}\n${text}\n${end}`);
}
if (process.argv.includes("--check")) {
  if (before !== after)
    throw new Error("The figures of docs/proof.md are not those of the results. Run: npm run generate:proof");
} else writeFileSync(PAGE, after);
