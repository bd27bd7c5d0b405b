/** The built command `holdfast` in real processes. */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { type Server, type ServerOptions, startServer } from "../../scripts/servers.ts";
import type { ListedLock } from "../../src/cli/listing.ts";
import { LockManager } from "../../src/index.ts";
import type { LockManagerSnapshot } from "../../src/index.ts";
import { until } from "./until.ts";

export const built: string = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** What npm puts on the PATH. */
export const launcher: string = fileURLToPath(new URL("../../bin/holdfast", import.meta.url));
if (!existsSync(built)) throw new Error(`These tests run ${built}, which is not there: npm run build.`);

/** Many processes start at once in these tests, on machines that have other work. */
const PATIENCE = 15_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running process, and what it has said so far. */
export class Run {
  stdout = "";
  stderr = "";
  readonly ended: Promise<Ended>;
  readonly #process: ChildProcess;

  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    const child = spawn(file, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#process = child;
    child.stdout.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    child.stdin.on("error", () => {}); // it may end without having read all
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  get over(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  type(text: string): void {
    this.#process.stdin?.write(text);
  }

  endInput(): void {
    this.#process.stdin?.end();
  }

  hasPrinted(text: string): Promise<void> {
    return this.#has("stdout", text);
  }

  hasSaid(text: string): Promise<void> {
    return this.#has("stderr", text);
  }

  async #has(stream: "stdout" | "stderr", text: string): Promise<void> {
    await until(() => this[stream].includes(text), `"${text}" stood in ${stream}`, PATIENCE).catch((cause: unknown) => {
      throw new Error(`"${text}" did not come to stand in ${stream}, which is "${this[stream]}"`, { cause });
    });
  }
}

/**
 * A server for the tests of a file, or for each of them, and the commands that use it. Call it at the top of the file:
 * what a test leaves running is ended behind it.
 */
export function useCommandLine(each: "file" | "test" = "file", options: ServerOptions = {}): ServedCommandLine {
  const cli = new ServedCommandLine(options);
  const [before, after] = each === "file" ? [beforeAll, afterAll] : [beforeEach, afterEach];
  before(() => cli.startServer());
  afterEach(() => cli.endAll());
  after(() => cli.close());
  return cli;
}

/** Starts commands that use one server, and sees to it that none outlives its test. */
export class CommandLine {
  #env: NodeJS.ProcessEnv = process.env;
  readonly #runs: Run[] = [];
  /** For what tests ask often, or do to the server: it takes a process less. */
  redis!: Redis;
  #locks!: LockManager;

  /** @param url of the server that commands use unless they say otherwise; without it `open` has to be called */
  constructor(url?: string) {
    if (url !== undefined) this.open(url);
  }

  open(url: string): void {
    this.#env = { ...process.env, REDIS_URL: url };
    this.redis = new Redis(url);
    this.redis.on("error", () => {}); // some tests end the server
    this.#locks = new LockManager(this.redis);
  }

  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
    return this.startProgram(process.execPath, [built, ...args], env);
  }

  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    return this.start(args, env).ended;
  }

  startProgram(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
    const run = new Run(file, args, { ...this.#env, ...env });
    this.#runs.push(run);
    return run;
  }

  /** A shell at a terminal, with job control; what is typed is the keyboard. */
  startShell(): Run {
    return this.startProgram("script", ["-qec", "exec bash --norc --noprofile -i", "/dev/null"], { PS1: "$ " });
  }

  /** As from a terminal; what is typed is the keyboard. */
  startInTerminal(args: readonly string[]): Run {
    const words = [process.execPath, built, ...args];
    const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    // script runs this with $SHELL, and a shell that stayed between would die of the terminal's SIGINT itself.
    const options =
      process.platform === "linux" ? ["-qec", `exec ${quoted}`, "/dev/null"] : ["-q", "/dev/null", ...words];
    return this.startProgram("script", options);
  }

  /** `holdfast exec` of a command that prints "held" and then runs until it is signalled. */
  async hold(name: string, ...options: string[]): Promise<Run> {
    const run = this.start(["exec", name, ...options, "--", "sh", "-c", "echo held; exec sleep 60"]);
    await run.hasPrinted("held");
    return run;
  }

  async show(name: string, ...options: string[]): Promise<ListedLock> {
    const { stdout } = await this.run(["show", name, "--json", ...options]);
    return JSON.parse(stdout) as ListedLock;
  }

  /** Who holds the lock and who waits. */
  stateOf(name: string): Promise<LockManagerSnapshot> {
    return this.#locks.query({ name });
  }

  /** Take the lock from its holder, who hears that, as `holdfast release --force` does: it takes a process less. */
  async forceRelease(name: string): Promise<void> {
    const [holder] = (await this.stateOf(name)).held;
    const hears = async () => (await this.redis.pubsub("CHANNELS", `*${holder?.clientId}*`)).length > 0;
    await until(hears, "the holder listened", PATIENCE);
    await this.#locks.forceRelease(name);
  }

  async hasWaiters(name: string, count: number): Promise<void> {
    const counted = async () => (await this.stateOf(name)).pending.length === count;
    await until(counted, `${count} waited for ${name}`, PATIENCE);
  }

  /** End everything. */
  async close(): Promise<void> {
    await this.endAll();
    this.redis.disconnect();
  }

  /** End what still runs. A holdfast that is asked to ends its command too. */
  async endAll(): Promise<void> {
    for (const run of this.#runs.splice(0)) {
      if (run.over) continue;
      run.signal("SIGCONT");
      run.signal("SIGTERM");
      await until(() => run.over, "a command ended on SIGTERM", 2_000).catch(() => run.signal("SIGKILL"));
    }
  }
}

/** With a server of its own. */
class ServedCommandLine extends CommandLine {
  server!: Server;
  readonly #options: ServerOptions;

  constructor(options: ServerOptions) {
    super();
    this.#options = options;
  }

  async startServer(): Promise<void> {
    this.server = await startServer(this.#options);
    this.open(this.server.url);
  }

  override async close(): Promise<void> {
    this.server.thaw();
    await super.close();
    await this.server.stop();
  }
}

/** The state of a process, in the letter that ps uses; undefined when it is gone. */
export async function stateOf(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  }
  const { stdout } = await promisify(execFile)("ps", ["-o", "stat=", "-p", `${pid}`]).catch(() => ({ stdout: "" }));
  return stdout.trim()[0];
}

/** Resolves when the process does nothing any more. The dead stay as zombies where nobody reaps them. */
export async function hasGone(pid: number): Promise<void> {
  await until(async () => ["Z", "X", undefined].includes(await stateOf(pid)), `process ${pid} had gone`);
}

const root = dirname(dirname(dirname(built)));

/** A folder with the built package, beside which only these libraries are installed. It goes when the test is over. */
export async function installBeside(
  onTestFinished: (clean: () => Promise<void>) => void,
  ...libraries: string[]
): Promise<string> {
  const folder = await useFolder(onTestFinished);
  await mkdir(join(folder, "node_modules"));
  await cp(join(root, "dist"), join(folder, "dist"), { recursive: true });
  await cp(join(root, "package.json"), join(folder, "package.json"));
  const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { dependencies: object };
  for (const library of [...Object.keys(dependencies), ...libraries]) {
    await symlink(join(root, "node_modules", library), join(folder, "node_modules", library));
  }
  return folder;
}

/** An empty folder that goes when the test is over. */
export async function useFolder(onTestFinished: (clean: () => Promise<void>) => void): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-cli-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
