/** The workers of a round: real processes, or, where there is no server, played by this one. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { fileURLToPath } from "node:url";
import { LockManager } from "holdfast";
import type { Order, Report, Way } from "./protocol.ts";
import type { Shared } from "./record.ts";
import { Work } from "./work.ts";

/** Emits `report` with a Report, and `failed` with an Error. */
export interface Worker extends EventEmitter {
  readonly id: number;
  tell(order: Order): void;
  kill(): void;
  freeze(): void;
  thaw(): void;
  /** Resolves when nothing is left of it. */
  end(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class ProcessWorker extends EventEmitter implements Worker {
  readonly id: number;
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  #thawer: ChildProcess | undefined;
  #killed = false;

  constructor(id: number, way: Way, url: string, prefix: string) {
    super();
    this.id = id;
    // In a group of its own, so that Ctrl-C in a terminal reaches the demo alone, which ends its workers itself.
    this.#child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [`${id}`, way, url, prefix], {
      detached: true,
    });
    running.add(this.#child);
    this.#gone = once(this.#child, "exit");
    this.#child.on("message", (report: Report) => this.emit("report", report));
    this.#child.on("exit", (code, signal) => {
      running.delete(this.#child);
      if (!this.#killed && code !== 0) this.emit("failed", new Error(`Worker ${id} ended with ${signal ?? code}.`));
    });
  }

  tell(order: Order): void {
    // A worker that has just ended cannot be told anything any more; its exit code says whether that was right.
    if (this.#child.connected) this.#child.send(order, () => {});
  }

  kill(): void {
    this.#killed = true;
    this.#child.kill("SIGKILL");
  }

  freeze(): void {
    this.#child.kill("SIGSTOP");
    // Should the demo itself be killed meanwhile, this shell's input ends, and no stopped process stays behind.
    this.#thawer = spawn("sh", ["-c", 'read -r _; kill -CONT "$1"', "thawer", `${this.#child.pid}`], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
  }

  thaw(): void {
    this.#thawer?.stdin?.end();
    this.#thawer = undefined;
    this.#child.kill("SIGCONT");
  }

  async end(): Promise<void> {
    this.#thawer?.stdin?.end();
    await this.#gone;
  }
}

/** Played: killed, it never goes on; stopped, it hears nothing until it is continued. */
export class PlayedWorker extends EventEmitter implements Worker {
  readonly id: number;
  readonly #locks = new LockManager();
  readonly #work: Work;
  #state: "running" | "frozen" | "killed" = "running";
  #unheard: Order[] = [];

  constructor(id: number, way: Way, shared: Shared) {
    super();
    this.id = id;
    const report = (said: Report): void => void (this.#state !== "killed" && this.emit("report", said));
    this.#work = new Work(id, way, { shared, locks: this.#locks, renew: false, report });
    setImmediate(() => void this.#work.run().catch((error: unknown) => this.emit("failed", error)));
  }

  tell(order: Order): void {
    if (this.#state === "running") this.#work.obey(order);
    else this.#unheard.push(order);
  }

  kill(): void {
    this.#state = "killed";
  }

  freeze(): void {
    this.#state = "frozen";
  }

  thaw(): void {
    this.#state = "running";
    for (const order of this.#unheard.splice(0)) this.#work.obey(order);
  }

  async end(): Promise<void> {
    await this.#locks.close();
  }
}
