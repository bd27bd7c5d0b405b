/** Runs the simulator, as a process of its own, on a library with a mistake in it. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Rule, Violation } from "../checks/verdict.ts";
import { edited, mistakeOf } from "./mistakes.ts";

export interface Found {
  /** The rule that it must break was broken. */
  readonly isFound: boolean;
  /** All that were broken in that run. */
  readonly rules: readonly Rule[];
  /** Virtual hours until then. */
  readonly hours: number;
  /** The seed of the run that found it. */
  readonly seed: string;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** @param hours the most virtual hours that it may take */
export async function hunt(name: string, { seed, hours }: { seed: string; hours: string }): Promise<Found> {
  const { file, scheme, breaks, faults, crowd, readers } = mistakeOf(name);
  const folder = await mkdtemp(join(tmpdir(), "holdfast-mistake-"));
  try {
    const results = join(folder, "results");
    const args = ["--seed", seed, "--hours", hours, "--scheme", scheme, "--results", results];
    if (faults !== undefined) args.push("--faults", String(faults));
    args.push("--crowd", crowd === true ? "always" : "never");
    if (readers === true) args.push("--readers");
    if (file === undefined) args.push("--mistake", name);
    const output = await simulator(file === undefined ? ROOT : await copyWith(name, folder), args);
    const text = await readFile(results, "utf8").catch(() => undefined);
    if (text === undefined) throw new Error(`The simulator itself failed with "${name}":\n${output.slice(-2_000)}`);
    const figures = JSON.parse(text) as Figures;
    const rules = [...new Set((figures.broken ?? []).map(({ rule }) => rule))];
    const last = figures.runs === 1 ? seed : `${seed}.${figures.runs - 1}`;
    return { isFound: rules.includes(breaks), rules, hours: figures.hours, seed: last };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Figures {
  readonly runs: number;
  readonly hours: number;
  readonly broken?: readonly Violation[];
}

/** A copy of simulator and library, in which the library has the mistake. */
async function copyWith(name: string, folder: string): Promise<string> {
  const { file = "", edits } = mistakeOf(name);
  for (const each of ["simulator", "src", "scripts", "package.json"]) {
    await cp(join(ROOT, each), join(folder, each), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const path = join(folder, "src", file);
  await writeFile(path, edited(await readFile(path, "utf8"), edits));
  return folder;
}

/** @returns what it prints; its results tell the rest */
function simulator(root: string, args: readonly string[]): Promise<string> {
  const command = ["--import", "tsx", join(root, "simulator/main.ts"), ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, command, { cwd: ROOT, maxBuffer: 2 ** 30, timeout: 600_000 }, (_, out, errors) =>
      resolve(out + errors),
    );
  });
}
