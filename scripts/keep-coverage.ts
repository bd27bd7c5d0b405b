/**
 * Keeps what `npm run coverage` has measured: proof/coverage.json, from what vitest has counted in the tests' own
 * processes, and Node in those that they started.
 *
 *     --note TEXT   what a reader has to know, for example that the run was cut short
 */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import istanbul from "istanbul-lib-coverage";
import type { CoverageMapData } from "istanbul-lib-coverage";
import { childCoverage } from "./child-coverage.ts";
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

const { values } = parseArgs({ options: { note: { type: "string", default: "" } } });
const root = new URL("../", import.meta.url);
const inWorkers = readFileSync(new URL(".cache/coverage/workers/coverage-final.json", root), "utf8");
const workers = istanbul.createCoverageMap(JSON.parse(inWorkers) as CoverageMapData);
const children = await childCoverage(
  fileURLToPath(new URL(".cache/coverage/children", root)),
  new URL("dist/cli/", root).href,
);
const files = workers.files().map((path) => ({ path: relative(fileURLToPath(root), path), lines: linesOf(path) }));
const { product, version } = await readVersion(await findServerBinary());
const coverage: Coverage = {
  date: new Date().toISOString().slice(0, 10),
  server: `${product} ${version}`,
  node: process.version,
  ...sumOf(files),
  files: files.length,
  note: values.note,
  folders: foldersOf(),
  below: files
    .map(({ path, lines }) => ({
      file: path,
      lines: lines.length,
      percent: Math.floor((1_000 * lines.filter(Boolean).length) / lines.length) / 10,
    }))
    .filter(({ percent }) => percent < ENOUGH)
    .toSorted((a, b) => a.percent - b.percent),
};

/** For each line of the file that has code: whether it ran in the tests' own processes, or in one that they started. */
function linesOf(path: string): boolean[] {
  const elsewhere = children.files().includes(path) ? children.fileCoverageFor(path).getLineCoverage() : {};
  return Object.entries(workers.fileCoverageFor(path).getLineCoverage()).map(
    ([line, count]) => count > 0 || (elsewhere[Number(line)] ?? 0) > 0,
  );
}

function sumOf(some: typeof files): { readonly lines: number; readonly covered: number } {
  const lines = some.flatMap((file) => file.lines);
  return { lines: lines.length, covered: lines.filter(Boolean).length };
}

function foldersOf(): Coverage["folders"] {
  const folderOf = ({ path }: (typeof files)[number]): string => {
    const [, first = "", ...rest] = path.split("/");
    return rest.length > 0 ? first : "";
  };
  const names = [...new Set(files.map(folderOf))].toSorted((a, b) => a.localeCompare(b));
  return names.map((folder) => ({ folder, ...sumOf(files.filter((file) => folderOf(file) === folder)) }));
}

writeFileSync(new URL("proof/coverage.json", root), `${JSON.stringify(coverage, undefined, 2)}\n`);
