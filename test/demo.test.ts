import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test, type TestContext } from "vitest";
import { until } from "./support/until.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

class Demo {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<[number | null]>;
  output = "";

  constructor(env: NodeJS.ProcessEnv, onTestFinished: TestContext["onTestFinished"]) {
    // Not through the command tsx, which would be a process between: the workers are children of this one.
    this.child = spawn(process.execPath, ["--import", "tsx", "demo/main.ts"], {
      cwd: root,
      env: { ...process.env, DEMO_INCREMENTS: "120", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void this.child.kill("SIGKILL"));
    this.#ended = once(this.child, "close") as Promise<[number | null]>;
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (data) => (this.output += data));
  }

  async end(): Promise<number | null> {
    const [code] = await this.#ended;
    return code;
  }

  async workers(): Promise<number[]> {
    const { stdout } = await run("pgrep", ["-P", `${this.child.pid}`, "-f", "worker.ts"]);
    return stdout.trim().split("\n").map(Number);
  }

  /** What a row of the table says of no lock, of the tutorial's lock and of holdfast. */
  row(title: string): string[] {
    const line = this.output.split("\n").find((each) => each.includes(`│ ${title}`)) ?? "";
    return line
      .split("│")
      .slice(2, -1)
      .map((cell) => cell.trim());
  }
}

function expectTheWholeStory(demo: Demo): void {
  const [none = "", tutorial = "", holdfast] = demo.row("lost updates");
  expect(Number(none)).toBeGreaterThan(0);
  expect(Number(tutorial)).toBeGreaterThan(0);
  expect(holdfast).toBe("0");
  expect(demo.row("increments made (expected)")).toEqual(["120", "120", "120"]);
  expect(demo.row("count in the record (actual)")).toEqual([
    `${120 - Number(none)}`,
    `${120 - Number(tutorial)}`,
    "120",
  ]);
  expect(demo.row("late writes taken")[2]).toBe("0");
  expect(Number(demo.row("late writes refused by the fence")[2])).toBeGreaterThan(0);
  expect(demo.output.match(/is killed \(SIGKILL\) while it holds the lock/g)).toHaveLength(2);
  expect(demo.output.match(/is stopped \(SIGSTOP\) while it holds/g)).toHaveLength(2);
  expect(demo.output).toMatch(/refused, its fence is too old\n.* is told by its lock that it was late: LockLostError/);
  expect(demo.output).toContain("holdfast lost 0");
  expect(demo.output.split("\n").filter((line) => line.length > 80)).toEqual([]);
}

test.concurrent(
  "the demo shows what is lost without a lock and with the tutorial's, and that holdfast loses nothing",
  { timeout: 60_000 },
  async ({ onTestFinished }) => {
    const demo = new Demo({}, onTestFinished);
    expect(await demo.end(), demo.output).toBe(0);
    expectTheWholeStory(demo);
  },
);

test.concurrent(
  "without a server the demo says that it plays the processes, and shows the same",
  { timeout: 60_000 },
  async ({ onTestFinished }) => {
    const demo = new Demo({ PATH: "", REDIS_URL: "" }, onTestFinished);
    expect(await demo.end(), demo.output).toBe(0);
    expect(demo.output).toContain("PLAYED WITHIN THIS PROCESS");
    expectTheWholeStory(demo);
  },
);

test.concurrent.for(["SIGINT", "SIGKILL"] as const)(
  "no worker outlives a demo that is ended by %s",
  { timeout: 90_000 },
  async (signal, { onTestFinished }) => {
    const demo = new Demo({}, onTestFinished);
    await until(() => demo.output.includes("is stopped (SIGSTOP)"), "a worker is stopped", 50_000);
    // It must not go on before it is ended.
    demo.child.kill("SIGSTOP");
    const workers = await demo.workers();
    expect(workers.length).toBeGreaterThan(0);
    demo.child.kill(signal);
    demo.child.kill("SIGCONT");
    expect(await demo.end()).toBe(signal === "SIGINT" ? 130 : null);
    await until(() => workers.every((pid) => !isAlive(pid)), "the workers are gone");
  },
);

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
