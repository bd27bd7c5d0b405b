/**
 * `tsx scripts/ci-summary.ts FOLDER PART…`: what failed in the parts of .ci/run, and how many tests passed and failed.
 * FOLDER/PART holds what the part printed (output), its exit code (status) and vitest's reports of it (*.json).
 * Exits with 1 if anything failed.
 */
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { type Failure, readReport } from "./test-report.ts";

interface Outcome {
  passed: number;
  readonly failures: Failure[];
}

const messageLines = 15;
const outputLines = 40;

async function readPart(folder: string): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, failures: [] };
  const files = await readdir(folder).catch(() => []);
  for (const file of files.filter((name) => name.endsWith(".json"))) {
    const { passed, failures } = readReport(await readFile(join(folder, file), "utf8"));
    outcome.passed += passed;
    outcome.failures.push(...failures);
  }
  const status = await readFile(join(folder, "status"), "utf8").catch(() => undefined);
  if (status === undefined) {
    outcome.failures.push({ title: "It was not run to its end.", message: "" });
  } else if (Number(status) !== 0 && outcome.failures.length === 0) {
    const output = await readFile(join(folder, "output"), "utf8").catch(() => "");
    const end = output.trimEnd().split("\n").slice(-outputLines).join("\n");
    const how = status.trim() === "124" ? "It took too long and was ended" : `It ended with exit code ${status.trim()}`;
    outcome.failures.push({ title: `${how}; the end of its output:`, message: end });
  }
  return outcome;
}

function describe({ file, title, message }: Failure): string {
  const where = file === undefined ? "" : `${relative(process.cwd(), file)}: `;
  const limit = file === undefined ? outputLines : messageLines;
  const lines = message.trimEnd().split("\n").slice(0, limit);
  return [`✗ ${where}${title}`, ...lines.map((line) => `    ${line}`)].join("\n");
}

const [reports, ...parts] = process.argv.slice(2);
if (reports === undefined) throw new Error("Expected the folder of the reports and the names of the parts.");
const total = { passed: 0, failed: 0 };
for (const part of parts) {
  const { passed, failures } = await readPart(join(reports, part));
  total.passed += passed;
  total.failed += failures.length;
  if (failures.length === 0) continue;
  console.log(`\nThe part "${part}" failed (${failures.length}):\n`);
  console.log(failures.map(describe).join("\n\n"));
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
