import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { contenderNamed } from "../contenders/index.ts";
import { scenarioNamed } from "../scenarios/index.ts";
import { show } from "./report.ts";
import { cellOf, type Results } from "./results.ts";

const panels = [
  { scenario: "handoff", column: "p50", title: "Handing over to a waiter: ms, less is better" },
  { scenario: "pair-256", column: "rate", title: "256 locks at once: pairs per second" },
  { scenario: "crowd", column: "rate", title: "1,000 waiters, one lock: grants per second" },
  { scenario: "fairness", column: "jain", title: "32 waiters: Jain's index, 1 is fair" },
];
const colours = { holdfast: "#1a7f5a", rival: "#8c959f", floor: "#bf8700" };

/** Exported by Vega, but not in its types. */
interface TextMetrics {
  width: (item: { fontSize?: number }, text: string) => number;
}

interface Row {
  readonly title: string;
  readonly value: number;
  readonly shown: string;
  readonly kind: string;
}

/** Undefined where nothing was measured that it shows. */
export async function chartOf(results: Results): Promise<string | undefined> {
  const plots = panels.flatMap(({ scenario, column, title }) => {
    const rows = rowsOf(results, scenario, column);
    return rows.length > 0 ? [panel(title, rows)] : [];
  });
  if (plots.length === 0) return undefined;
  const spec = {
    background: "transparent",
    padding: 12,
    spacing: 28,
    vconcat: pairsOf(plots).map((pair) => ({ hconcat: pair, spacing: 28 })),
    config: {
      font: "system-ui, -apple-system, 'Segoe UI', sans-serif",
      view: { stroke: null },
      axis: {
        domain: false,
        ticks: false,
        grid: false,
        title: null,
        labelFontSize: 12,
        labelLimit: 0,
        minExtent: 140,
        maxExtent: 140,
      },
      title: { fontSize: 13, anchor: "start", frame: "group", offset: 8 },
    },
  } as unknown as TopLevelSpec;
  // Without a canvas Vega takes every letter to be 0.8 em wide, and spreads the panels apart.
  const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
  textMetrics.width = ({ fontSize = 12 }, text) => 0.55 * fontSize * String(text ?? "").length;
  const svg = await new vega.View(vega.parse(compile(spec).spec), { renderer: "none" }).toSVG();
  // Text has to be read on white and on near-black pages; a style overrules the attributes that Vega writes.
  const style = "<style>text{fill:#1f2328}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>";
  return `${svg.replace(/(<svg[^>]*>)/, `$1${style}`)}\n`;
}

function pairsOf<T>(all: readonly T[]): T[][] {
  return all.flatMap((_, i) => (i % 2 === 0 ? [all.slice(i, i + 2)] : []));
}

function rowsOf(results: Results, scenarioName: string, columnKey: string): Row[] {
  const entries = results.scenarios.find(({ name }) => name === scenarioName)?.entries ?? [];
  const column = scenarioNamed(scenarioName).columns.find(({ key }) => key === columnKey)!;
  const { better } = column;
  const rows = entries
    .filter(({ samples }) => samples.length > 0)
    .map(({ contender, samples }) => {
      const { title, kind } = contenderNamed(contender);
      const { value } = cellOf(column, samples);
      const isPublish = scenarioName === "handoff" && kind === "floor";
      return { title: isPublish ? "bare PUBLISH" : title, value, shown: show(value), kind };
    });
  const place = ({ kind, value }: Row): number =>
    Object.keys(colours).indexOf(kind) * 1e12 + (better === "less" ? value : -value);
  return rows.sort((a, b) => place(a) - place(b));
}

function panel(title: string, rows: readonly Row[]): object {
  const order = rows.map((row) => row.title);
  return {
    title,
    width: 260,
    height: { step: 20 },
    data: { values: rows },
    encoding: {
      y: { field: "title", type: "nominal", sort: null, scale: { domain: order } },
      x: { field: "value", type: "quantitative", axis: null },
    },
    layer: [
      {
        mark: { type: "bar", cornerRadiusEnd: 3, height: 13 },
        encoding: {
          color: {
            field: "kind",
            type: "nominal",
            legend: null,
            scale: { domain: Object.keys(colours), range: Object.values(colours) },
          },
        },
      },
      { mark: { type: "text", align: "left", dx: 5, fontSize: 12 }, encoding: { text: { field: "shown" } } },
    ],
  };
}
