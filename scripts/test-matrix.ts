/**
 * `npm run test:matrix [-- NAME…]`: what every scheme promises, on every server that is supported (scripts/fetch-servers.ts
 * names them), one after the other. `--reports FOLDER` keeps vitest's report of each as FOLDER/NAME.json.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { describeServers, fetchServers, serverNames } from "./fetch-servers.ts";
import { type Failure, readReport } from "./test-report.ts";

const run = promisify(execFile);

const root = fileURLToPath(new URL("..", import.meta.url));
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const suites = ["conformance", "compare", "set", "web-locks", "once", "hand-over", "fence", "durability"].map(
  (name) => `test/${name}.test.ts`,
);
/**
 * All tests but those of the Web Locks suite, which is long: of these, one scheme on one client tells all of a server.
 */
const tests = "^(?!in this process|Postgres|.*web locks)|lua on ioredis 6.? web locks";
const suiteTimeoutMs = 4 * 60_000;

interface Outcome {
  readonly passed: number;
  readonly failures: readonly Failure[];
}

async function testOn(binary: string, reportFile: string): Promise<Outcome> {
  const args = [vitest, "run", ...suites, "-t", tests, "--reporter=json", `--outputFile=${reportFile}`];
  const env = { ...process.env, HOLDFAST_SERVER: binary };
  let end: string | undefined;
  try {
    await run(process.execPath, args, { cwd: root, env, timeout: suiteTimeoutMs });
  } catch (error) {
    const { killed, stdout, stderr } = error as { killed?: boolean; stdout?: string; stderr?: string };
    end = `${killed ? `Not at an end after ${suiteTimeoutMs / 1000} s.` : "vitest failed."}\n${stdout ?? ""}${stderr ?? ""}`;
  }
  const { passed, failures } = readReport(await readFile(reportFile, "utf8").catch(() => ""));
  if (end !== undefined && failures.length === 0) return { passed, failures: [{ title: binary, message: end }] };
  return { passed, failures };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { reports: { type: "string" } } });
  const servers = await fetchServers(positionals.length > 0 ? positionals : serverNames);
  console.log(`${describeServers(servers)}\n`);

  const reports = values.reports ? resolve(values.reports) : await mkdtemp(join(tmpdir(), "holdfast-matrix-"));
  await mkdir(reports, { recursive: true });
  const total = { passed: 0, failed: 0, unfit: 0 };
  for (const server of servers) {
    if (server.binary === undefined) {
      total.unfit++;
      continue;
    }
    const started = performance.now();
    const { passed, failures } = await testOn(server.binary, join(reports, `${server.name}.json`));
    const failed = failures.length;
    for (const { title, message } of failures) console.log(`${title}\n${message}\n`);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const title = `${server.product} ${server.version} (${server.name})`.padEnd(40);
    console.log(`${failed > 0 ? "✗" : "✓"} ${title}  ${passed} passed, ${failed} failed  ${seconds} s`);
    total.passed += passed;
    total.failed += failed;
    if (failed > 0) total.unfit++;
  }
  if (!values.reports) await rm(reports, { recursive: true, force: true });

  const fit = servers.length - total.unfit;
  console.log(`\n${fit} of ${servers.length} servers: ${total.passed} tests passed, ${total.failed} failed.`);
  for (const { name, binary } of servers) if (binary === undefined) console.log(`${name} could not be fetched.`);
  if (fit < servers.length) process.exitCode = 1;
}

await main();
