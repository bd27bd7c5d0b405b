/** One client process: started, killed, frozen, asked to end. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import type { ClientSpec } from "../client/spec.ts";

/** How much of what it says on standard error is kept. */
const MOST = 4_000;

export class ClientProcess {
  readonly spec: ClientSpec;
  /** What it said on standard error: nothing, unless something went wrong. */
  said = "";
  wasKilled = false;
  readonly #child: ChildProcessByStdio<Writable, null, Readable>;
  readonly #keeper: ChildProcessByStdio<Writable, null, null>;
  readonly #ended: Promise<unknown>;

  constructor(program: string, spec: ClientSpec) {
    this.spec = spec;
    this.#child = spawn(process.execPath, ["--enable-source-maps", program, JSON.stringify(spec)], {
      stdio: ["pipe", "ignore", "pipe"],
      detached: true, // so that Ctrl-C in a terminal reaches the laboratory alone
    });
    this.#child.stdin.on("error", () => {}); // it may be dead on purpose
    this.#child.stderr.on("data", (text: Buffer) => (this.said = (this.said + String(text)).slice(0, MOST)));
    this.#ended = once(this.#child, "close");
    this.#keeper = keep(this.#child.pid ?? 0);
    this.#child.once("exit", () => this.#keeper.stdin.end("\n"));
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    this.wasKilled = true;
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  /** Resolves once it has finished its requests and ended by itself. @returns whether it did within that time */
  async end(timeout: number): Promise<boolean> {
    this.#child.stdin.end();
    const late = new Promise<boolean>((resolve) => setTimeout(resolve, timeout, false).unref());
    return Promise.race([this.#ended.then(() => true), late]);
  }
}

/** A shell that outlives the laboratory, and kills the process then, which may be frozen. */
function keep(pid: number): ChildProcessByStdio<Writable, null, null> {
  const script = 'pid=$1; while read -r line; do pid=; done; [ -z "$pid" ] || kill -9 "$pid"';
  const keeper = spawn("sh", ["-c", script, "holdfast-keeper", `${pid}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  keeper.stdin.on("error", () => {});
  return keeper;
}
