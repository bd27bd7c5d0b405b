/**
 * `npm run coverage`: which lines of src/ the tests run, in their own processes (vitest counts) and in those that they
 * start (Node counts). Keeps it as proof/coverage.json. Its exit code is 1 if a test failed.
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

/** The runs of vitest that count. `npm test` is the first. */
const PARTS = [
  { name: "tests", env: {}, filters: [] },
  { name: "topologies", env: { HOLDFAST_LONG: "1" }, filters: ["test/topologies"] },
  { name: "nestjs", env: { HOLDFAST_PACKAGE: "1" }, filters: ["test/nestjs"] },
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
const folder = new URL(".cache/coverage/", root);
rmSync(folder, { recursive: true, force: true });
const failed = PARTS.filter((part) => !passes(part)).map(({ name }) => name);
const children = await childCoverage(fileURLToPath(new URL("children", folder)), new URL("dist/", root));
const [first = children, ...others] = [...PARTS.map(countedIn), children];
const files = first.files().map((path) => ({ path: relative(fileURLToPath(root), path), lines: linesOf(path) }));
const { product, version } = await readVersion(await findServerBinary());
const coverage: Coverage = {
  date: new Date().toISOString().slice(0, 10),
  server: `${product} ${version}`,
  node: process.version,
  ...sumOf(files),
  files: files.length,
  note: [...failed.map((name) => `A test failed (${name}).`), values.note].join(" ").trim(),
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

function passes({ name, env, filters }: (typeof PARTS)[number]): boolean {
  const reports = `--coverage.reportsDirectory=${fileURLToPath(new URL(name, folder))}`;
  const args = ["vitest", "run", "--config", "vitest.coverage.config.ts", reports, ...filters];
  return spawnSync("npx", args, { cwd: root, env: { ...process.env, ...env }, stdio: "inherit" }).status === 0;
}

function countedIn({ name }: (typeof PARTS)[number]): CoverageMap {
  const report = readFileSync(new URL(`${name}/coverage-final.json`, folder), "utf8");
  return istanbul.createCoverageMap(JSON.parse(report) as CoverageMapData);
}

/** For each line of the file that has code: whether it ran anywhere. */
function linesOf(path: string): boolean[] {
  const elsewhere = others
    .filter((map) => map.files().includes(path))
    .map((map) => map.fileCoverageFor(path).getLineCoverage());
  return Object.entries(first.fileCoverageFor(path).getLineCoverage()).map(
    ([line, count]) => count > 0 || elsewhere.some((lines) => (lines[Number(line)] ?? 0) > 0),
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
process.exitCode = failed.length > 0 ? 1 : 0;
