import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** This module is run from lib/ and, compiled, from .cache/: both lie in the same place. */
export const benchFolder: string = fileURLToPath(new URL("..", import.meta.url));

/** The module users import: another version's, to compare the two, where BENCH_HOLDFAST names its folder. */
const holdfast: string = process.env["BENCH_HOLDFAST"] ?? dirname(benchFolder.replace(/\/$/, ""));
export const holdfastEntry: string = `${holdfast}/dist/index.js`;

/** Where a package lies that is wanted from `from`, as Node looks for it. */
export function packageFolder(name: string, from: string = benchFolder): string {
  if (name === "holdfast") return holdfast;
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = `${folder.replace(/\/$/, "")}/node_modules/${name}`;
    if (existsSync(`${candidate}/package.json`)) return candidate;
    if (folder === dirname(folder)) throw new Error(`Expected ${name} to be installed beneath ${from}; it is not.`);
  }
}
