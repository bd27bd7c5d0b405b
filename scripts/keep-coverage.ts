/**
 * Keeps what `npm run coverage` has measured: proof/coverage.json, from vitest's summary.
 *
 *     --note TEXT   what a reader has to know, for example that the run was cut short
 */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findServerBinary, readVersion } from "./servers.ts";

export interface Coverage {
  readonly date: string;
  readonly server: string;
  readonly node: string;
  /** Of all files: how many lines there are, and how many the tests run. */
  readonly lines: number;
  readonly covered: number;
  readonly files: number;
  readonly note: string;
  /** By folder of src/; "" is src/ itself. */
  readonly folders: readonly { readonly folder: string; readonly lines: number; readonly covered: number }[];
  /** Those with less than `ENOUGH`, the worst first, with percentages. */
  readonly below: readonly { readonly file: string; readonly lines: number; readonly percent: number }[];
}

/** Of a file's lines, in percent. */
const ENOUGH = 95;

type Summary = Readonly<Record<string, { readonly lines: { total: number; covered: number; pct: number } }>>;

const { values } = parseArgs({ options: { note: { type: "string", default: "" } } });
const root = new URL("../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const { total, ...files } = JSON.parse(read(".cache/coverage/coverage-summary.json")) as Summary;
const { product, version } = await readVersion(await findServerBinary());
const coverage: Coverage = {
  date: new Date().toISOString().slice(0, 10),
  server: `${product} ${version}`,
  node: process.version,
  lines: total!.lines.total,
  covered: total!.lines.covered,
  files: Object.keys(files).length,
  note: values.note,
  folders: foldersOf(),
  below: Object.entries(files)
    .filter(([, { lines }]) => lines.pct < ENOUGH)
    .map(([path, { lines }]) => ({
      file: relative(fileURLToPath(root), path),
      lines: lines.total,
      percent: lines.pct,
    }))
    .toSorted((a, b) => a.percent - b.percent),
};
function foldersOf(): Coverage["folders"] {
  const sums = new Map<string, { lines: number; covered: number }>();
  for (const [path, { lines }] of Object.entries(files)) {
    const [, first = "", ...rest] = relative(fileURLToPath(root), path).split("/");
    const folder = rest.length > 0 ? first : "";
    const { lines: all, covered: some } = sums.get(folder) ?? { lines: 0, covered: 0 };
    sums.set(folder, { lines: all + lines.total, covered: some + lines.covered });
  }
  return [...sums].map(([folder, sum]) => ({ folder, ...sum })).toSorted((a, b) => a.folder.localeCompare(b.folder));
}

writeFileSync(new URL("proof/coverage.json", root), `${JSON.stringify(coverage, undefined, 2)}\n`);
