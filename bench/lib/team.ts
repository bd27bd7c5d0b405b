import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { build } from "esbuild";
import { benchFolder } from "./folders.ts";
import type { Player } from "./scenario.ts";
import type { Server } from "./server.ts";
import type { Order, Report } from "./worker.ts";

const workerFile = `${benchFolder}.cache/worker.js`;
const patienceMs = 60_000;

/** Workers run plain JavaScript: with tsx each would start three times slower, and run code that tsx has touched. */
export async function compileWorker(): Promise<void> {
  await rm(`${benchFolder}.cache`, { recursive: true, force: true });
  await build({
    entryPoints: [`${benchFolder}lib/worker.ts`],
    outdir: `${benchFolder}.cache`,
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    target: "node20",
    format: "esm",
    logLevel: "warning",
  });
}

/** The processes of one measurement. */
export class Team {
  readonly faults = new Map<string, number>();
  readonly #members: Member[] = [];
  readonly #names: readonly [scenario: string, contender: string];
  readonly #server: Server;

  constructor(scenario: string, contender: string, server: Server) {
    this.#names = [scenario, contender];
    this.#server = server;
  }

  async hire(role: string, nodes: readonly Server[] = [this.#server]): Promise<Player> {
    const [scenario, contender] = this.#names;
    const note = (fault: string): void => void this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
    const member = new Member([scenario, role, contender, ...nodes.map(({ url }) => url)], note);
    this.#members.push(member);
    await member.ready;
    return member;
  }

  async dismiss(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.end()));
  }
}

class Member implements Player {
  readonly ready: Promise<unknown>;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #ended: Promise<void>;
  #lastId = 0;
  #said = "";

  constructor(args: readonly string[], note: (fault: string) => void) {
    this.#process = spawn(process.execPath, ["--expose-gc", workerFile, ...args], {
      cwd: benchFolder,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
    });
    this.#process.stderr!.on("data", (chunk) => (this.#said = (this.#said + chunk).slice(-2_000)));
    this.#process.on("message", (report: Report) => {
      if ("fault" in report) note(report.fault);
      else if ("error" in report) this.#settle(report.id)?.reject(new Error(report.error));
      else this.#settle(report.id)?.resolve(report.result);
    });
    this.#ended = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        const why = /^\w*Error.*$/m.exec(this.#said)?.[0] ?? this.#said;
        const error = new Error(`A worker ended early (${signal ?? code}): ${why}`);
        for (const waiting of this.#waiting.values()) waiting.reject(error);
        resolve();
      });
    });
    this.ready = this.#answerTo(0);
  }

  async call<Result>(method: string, args: unknown = {}): Promise<Result> {
    const id = ++this.#lastId;
    const answer = this.#answerTo(id);
    this.#process.send({ id, method, args } satisfies Order);
    return (await answer) as Result;
  }

  /** Killed rather than asked: some rivals cannot stop waiting. */
  end(): Promise<void> {
    this.#waiting.clear();
    this.#process.kill("SIGKILL");
    return this.#ended;
  }

  #answerTo(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const late = (): void => this.#settle(id)?.reject(new Error(`No answer within ${patienceMs} ms. ${this.#said}`));
      setTimeout(late, patienceMs).unref();
    });
  }

  #settle(id: number): { resolve(value: unknown): void; reject(error: Error): void } | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}
