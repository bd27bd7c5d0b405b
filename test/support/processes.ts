/** Real processes that hold and wait, so that they can be killed and frozen. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { LockOptions, ManagerOptions } from "../../src/index.ts";
import { compiledPath } from "./programs.ts";
import type { Finishing } from "./stage.ts";

/** What they run, compiled before the tests. */
export const program: string = fileURLToPath(new URL("participant.ts", import.meta.url));

/** How long a test of processes may take: to start one takes seconds where the machine is busy. */
export const PROCESSES = { timeout: 60_000 };

/** What a participant says of the lock that it took last. */
export interface ParticipantState {
  readonly held?: boolean;
  readonly aborted?: boolean;
  readonly reason?: string;
  readonly fence?: number;
  readonly token?: string;
}

export interface ParticipantOptions extends ManagerOptions {
  on?: "ioredis" | "node-redis" | "glide";
}

export class Participant {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<number | null>;

  constructor(url: string, { on = "ioredis", ...options }: ParticipantOptions) {
    const args = [compiledPath(program), url, on, JSON.stringify(options)];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin?.on("error", () => {}); // it may be dead on purpose
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#exited = once(this.#child, "exit").then(([code]) => code as number | null);
  }

  /** Its exit code once it has ended; null after a signal. */
  get exited(): Promise<number | null> {
    return this.#exited;
  }

  async said(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("The process ended before it answered.");
    return JSON.parse(value) as unknown;
  }

  /** Resolves with the answer. */
  tell(...command: unknown[]): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return this.said();
  }

  acquire(name: string, options?: LockOptions): Promise<ParticipantState> {
    return this.tell("acquire", name, options) as Promise<ParticipantState>;
  }

  state(): Promise<ParticipantState> {
    return this.tell("state") as Promise<ParticipantState>;
  }

  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

/** Start a process with a manager; it is gone when the test is over, however that ends. */
export async function participant(t: Finishing, url: string, options: ParticipantOptions = {}): Promise<Participant> {
  const started = new Participant(url, options);
  t.onTestFinished(() => started.kill());
  await started.said();
  return started;
}
