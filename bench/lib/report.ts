import { contenderNamed, contenders } from "../contenders/index.ts";
import { scenarioNamed } from "../scenarios/index.ts";
import { cellOf, judge, lossesOf, type Cell, type Entry, type Judgement, type Loss, type Results } from "./results.ts";
import { median } from "./statistics.ts";
import type { Column, Figure, Scenario } from "./scenario.ts";

const width = 80;

export function judgementsOf(results: Results): Judgement[] {
  return results.scenarios.flatMap(({ name, entries }) => {
    const scenario = scenarioNamed(name);
    return scenario.figures.flatMap((figure) => judge(figure, scenario, entries, contenders) ?? []);
  });
}

/** Three significant digits, and no more decimals than the size of the number gives sense to. */
export function show(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  const digits = Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(value) || 1))));
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

/** With the cells of the tables instead of single observations, of which there are too many. */
export function jsonOf(results: Results): string {
  const scenarios = results.scenarios.map(({ name, entries }) => {
    const { columns } = scenarioNamed(name);
    const rows = entries.map(({ contender, samples, faults }) => {
      const cells = columns.map((column) => [column.key, samples.length ? cellOf(column, samples) : null]);
      return { contender, faults, cells: Object.fromEntries(cells), rounds: samples.map(({ values }) => values) };
    });
    return { name, entries: rows };
  });
  return `${JSON.stringify({ ...results, figures: judgementsOf(results), scenarios }, undefined, 2)}\n`;
}

export function markdownOf(results: Results): string {
  const { machine, mode, seconds, at } = results;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const settings = contenders.map(({ title, settings: how }) => `- **${title}**: ${how}`);
  return [
    "# Benchmark results",
    `Written by \`npm run bench\` (${mode}, ${Math.round(seconds)} s, ${at.slice(0, 10)}). ` +
      `${machine.cores} cores (${machine.cpu}), ${machine.memoryGb} GB, Node ${machine.node}, ${machine.server} ` +
      `on loopback. A cell is the median of the rounds and their range; ` +
      "quantiles of handoff, takeover and open-loop are over all rounds together. `sent` are commands as clients send them, " +
      "`run` those that the server ran, inside scripts too. Bold: the best of the row's column among libraries.",
    busyText(results),
    `Versions: ${versions.join(", ")}.`,
    ...machine.unsupported.map((line) => `Note: ${line}.`),
    "## Targets and what was measured",
    figuresTable(judgementsOf(results)),
    ...results.scenarios.flatMap(({ name, entries }) => sectionOf(scenarioNamed(name), entries)),
    "## Where holdfast loses",
    lossesText(results),
    "## How each was set up",
    settings.join("\n"),
    "",
  ].join("\n\n");
}

/** A busy machine blurs everything here, so it is said at the top. */
function busyText({ busy }: Results): string {
  const most = `${Math.round(Math.max(...busy))} %`;
  const about = `Other processes used ${Math.round(median(busy))} % of the machine (at most ${most}) between the scenarios.`;
  return median(busy) > 10 ? `${about} Too much: measure again when it is quiet.` : about;
}

function figuresTable(judgements: readonly Judgement[]): string {
  if (judgements.length === 0) return "Nothing: holdfast was not measured.";
  const rows = judgements.map(({ figure, value, least, most, met, against }) => [
    figure.id.split(".")[0]!,
    figure.says + (figure.against === "rivals" ? ` (${contenderNamed(against!).title})` : ""),
    `${show(value)} (${show(least)}–${show(most)})`,
    met ? "yes" : "**no**",
  ]);
  return table(["scenario", "target", "measured", "met"], rows, 2);
}

function sectionOf(scenario: Scenario, entries: readonly Entry[]): string[] {
  const columns = scenario.columns;
  const rows = entries.map(({ contender, samples }) => [
    contenderNamed(contender).title,
    ...columns.map((column) =>
      markdownCell(column, contender, samples.length ? cellOf(column, samples) : undefined, entries),
    ),
  ]);
  const faults = entries.flatMap(({ contender, faults: all }) =>
    Object.entries(all).map(([fault, count]) => `- ${contenderNamed(contender).title}: ${fault} (${count} ×)`),
  );
  const rounds = Math.max(0, ...entries.map(({ samples }) => samples.length));
  const head = [`## ${scenario.name}`, `${scenario.asks}. ${rounds} ${rounds === 1 ? "round" : "rounds"}.`];
  return [
    ...head,
    table(["", ...columns.map((column) => column.title)], rows),
    ...(faults.length ? [faults.join("\n")] : []),
  ];
}

function markdownCell(column: Column, contender: string, cell: Cell | undefined, entries: readonly Entry[]): string {
  if (!cell) return "failed";
  const text = show(cell.value);
  const range = Object.is(cell.least, cell.most) ? "" : ` (${show(cell.least)}–${show(cell.most)})`;
  return (isBest(column, contender, cell.value, entries) ? `**${text}**` : text) + range;
}

function isBest(column: Column, contender: string, value: number, entries: readonly Entry[]): boolean {
  if (column.better === "neither" || contenderNamed(contender).kind === "floor") return false;
  const libraries = entries.filter(
    (entry) => contenderNamed(entry.contender).kind !== "floor" && entry.samples.length > 0,
  );
  const values = libraries.map(({ samples }) => cellOf(column, samples).value).filter((each) => !Number.isNaN(each));
  return value === (column.better === "less" ? Math.min(...values) : Math.max(...values));
}

function lossesText(results: Results): string {
  const lines = results.scenarios.flatMap(({ name, entries }) => {
    const losses = lossesOf(scenarioNamed(name), entries);
    return [...new Set(losses.map(({ column }) => column))].map((column) => {
      const others = losses.filter((loss) => loss.column === column).sort((a, b) => b.factor - a.factor);
      const ours = show(others[0]!.ours.value);
      const more = others.length > 3 ? `, and ${others.length - 3} more` : "";
      return `- **${name}, ${column.title}**: ${ours}; ${others.slice(0, 3).map(lossText).join(", ")}${more}`;
    });
  });
  if (lines.length === 0) return "Nowhere by more than 5 %, or holdfast was not measured.";
  const meaning =
    "By more than 5 %, the other's figure and how many times better it is; `~` where the ranges of the rounds touch.";
  return `${meaning}\n\n${lines.join("\n")}`;
}

function lossText({ contender, theirs, factor, withinSpread }: Loss): string {
  return `${contenderNamed(contender).title} ${show(theirs.value)} (${withinSpread ? "~" : ""}${show(factor)} ×)`;
}

/** The first columns hold text and stand to the left. */
function table(head: readonly string[], rows: readonly (readonly string[])[], texts = 1): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => (i < texts ? "---" : "---:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** At most 80 columns wide. */
export function summaryOf(results: Results): string {
  const { machine } = results;
  const about = `${machine.cores} cores, Node ${machine.node}, ${machine.server}; medians of rounds`;
  const blocks = results.scenarios.map(({ name, entries }) => briefTable(scenarioNamed(name), entries));
  const figures = judgementsOf(results).map(figureLine);
  return [
    about,
    wrap(busyText(results), width).join("\n"),
    ...blocks,
    ...(figures.length ? [figures.join("\n")] : []),
    lossSummary(results),
  ].join("\n\n");
}

function briefTable(scenario: Scenario, entries: readonly Entry[]): string {
  const columns = scenario.columns.filter((column) => column.brief);
  const space = Math.floor((width - 22) / columns.length);
  const heads = columns.map((column) => wrap(column.title, space - 2));
  const height = Math.max(...heads.map((lines) => lines.length));
  const head = Array.from({ length: height }, (_, i) => {
    const cells = heads.map((lines) => (lines[i - (height - lines.length)] ?? "").padStart(space));
    return ((i === height - 1 ? scenario.name : "").padEnd(22) + cells.join("")).trimEnd();
  });
  const rows = entries.map(({ contender, samples }) => {
    const cells = columns.map((column) =>
      (samples.length ? show(cellOf(column, samples).value) : "failed").padStart(space),
    );
    return contenderNamed(contender).title.padEnd(22) + cells.join("");
  });
  return [...head, ...rows].join("\n");
}

function wrap(text: string, space: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= space) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function boundOf({ bound }: Figure): string {
  return "atMost" in bound ? `≤ ${show(bound.atMost)}` : `≥ ${show(bound.atLeast)}`;
}

function figureLine({ figure, value, met }: Judgement): string {
  return `${met ? "met   " : "MISSED"} ${figure.id.padEnd(40)} ${show(value).padStart(10)} ${boundOf(figure).padStart(10)}`;
}

function lossSummary(results: Results): string {
  const names = results.scenarios.flatMap(({ name, entries }) => {
    const losses = lossesOf(scenarioNamed(name), entries).filter((loss) => !loss.withinSpread);
    return [...new Set(losses.map(({ column }) => `${name} ${column.title}`))];
  });
  if (names.length === 0) return "holdfast loses nowhere beyond the spread (or was not measured).";
  return wrap(`holdfast loses at: ${names.join("; ")}. By how much: results/latest.md`, width).join("\n");
}
