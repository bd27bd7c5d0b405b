/**
 * `npm run coverage`: which lines of src/ the tests run, in their own processes (vitest counts) and in those of Node that
 * they start (Node counts). Keeps it as proof/coverage.json. The exit code is 1 if a test failed.
 *
 *     --note TEXT   what a reader has to know, for example that the run was cut short
 */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import istanbul from "istanbul-lib-coverage";
import type { CoverageMap, CoverageMapData } from "istanbul-lib-coverage";
import { childCoverage } from "./child-coverage.ts";
import { findServerBinary, readVersion } from "./servers.ts";

/** The runs of vitest that count; the first is that of `npm test`, `npm run test:command` and `npm run test:docs`. */
const PARTS = [
  { name: "tests", env: { HOLDFAST_COMMAND: "1", HOLDFAST_DOCS: "1" }, args: [] },
  { name: "topologies", env: { HOLDFAST_LONG: "1" }, args: ["test/topologies"] },
  // Not the other application: its runner kills its processes before Node has written down what ran in them.
  { name: "nestjs", env: { HOLDFAST_PACKAGE: "1" }, args: ["test/nestjs", "-t", "nest11"] },
];

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
const cache = new URL(".cache/coverage/", root);
rmSync(cache, { recursive: true, force: true });
const failed = PARTS.filter((part) => !passes(part)).map(({ name }) => name);
const children = await childCoverage(fileURLToPath(new URL("children", cache)), new URL("dist/", root));
const counted = [...PARTS.map(countedIn), children];
/** Each part has all files. */
const [whole] = counted as [CoverageMap];
const files = whole.files().map((path) => ({ path: relative(fileURLToPath(root), path), lines: linesOf(path) }));
const { product, version } = await readVersion(await findServerBinary());
const coverage: Coverage = {
  date: new Date().toISOString().slice(0, 10),
  server: `${product} ${version}`,
  node: process.version,
  ...sumOf(files),
  files: files.length,
  note: [...failed.map((name) => `Some tests failed in this run (${name}).`), values.note].join(" ").trim(),
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

/** @throws Error if it was interrupted */
function passes({ name, env, args }: (typeof PARTS)[number]): boolean {
  const reports = `--coverage.reportsDirectory=${fileURLToPath(new URL(name, cache))}`;
  const words = ["vitest", "run", "--config", "vitest.coverage.config.ts", reports, ...args];
  const { status } = spawnSync("npx", words, { cwd: root, env: { ...process.env, ...env }, stdio: "inherit" });
  if (status !== 0 && status !== 1) throw new Error(`Expected vitest to end by itself; its exit code is ${status}.`);
  return status === 0;
}

function countedIn({ name }: (typeof PARTS)[number]): CoverageMap {
  const report = readFileSync(new URL(`${name}/coverage-final.json`, cache), "utf8");
  return istanbul.createCoverageMap(JSON.parse(report) as CoverageMapData);
}

/** For each line of the file that has code: whether it ran anywhere. */
function linesOf(path: string): boolean[] {
  const counts = counted
    .filter((map) => map.files().includes(path))
    .map((map) => map.fileCoverageFor(path).getLineCoverage());
  const lines = Object.keys(whole.fileCoverageFor(path).getLineCoverage()).map(Number);
  return lines.map((line) => counts.some((count) => (count[line] ?? 0) > 0));
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
process.exitCode = failed.length > 0 ? 1 : 0;
