/** A command that runs while something is held: how it is told that it is over, and what becomes of signals. */
import { hostname } from "node:os";
import { basename } from "node:path";
import { LockLostError } from "../errors.ts";
import type { Child } from "./child.ts";
import { formatDuration } from "./durations.ts";
import { signalExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";
import { complain, plain } from "./messages.ts";

/** A lock, several, or a term of leadership. */
export interface Held {
  readonly held: boolean;
  readonly signal: AbortSignal;
}

/** Handled from the start to the end, so that none finds holdfast between two states. What the state is says `receive`. */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;
const HANDLED = [...FORWARDED, "SIGTSTP", "SIGCONT"] as const;
type Handled = (typeof HANDLED)[number];

/** What reaches holdfast from outside while it waits, and while the command runs. */
export class Interruptions {
  readonly #waitsFor: string;
  readonly #controller = new AbortController();
  readonly #crash: Promise<never>;
  #receive: (signal: Handled) => void;

  constructor(waitsFor: string) {
    this.#waitsFor = waitsFor;
    this.#receive = (signal) => this.#whileWaiting(signal);
    for (const signal of HANDLED) process.on(signal, () => this.#receive(signal));
    this.#crash = new Promise<never>((_, reject) => process.on("uncaughtException", reject));
  }

  /** Aborted, with the exit code as its reason, by a signal that ends the waiting. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Rejects when something was thrown that nobody caught. */
  orCrash<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#crash]);
  }

  /**
   * Until the command has ended, or what it runs under was lost and its group stopped.
   *
   * @param title what is lost, in messages
   * @returns the command's exit code, or how it was lost
   */
  async guard(held: Held, title: string, child: Child, grace: number): Promise<number | LockLostError> {
    this.#receive = (signal) => whileRunning(signal, held, child);
    const end = await this.orCrash(guard(held, title, child, grace)).catch(async (error: unknown) => {
      // A bug in here or in a client library must not leave the command running without a guard.
      await child.stop(grace);
      throw error;
    });
    this.#receive = () => {};
    return end;
  }

  /** The command is over; the next is waited for. */
  waitAgain(): void {
    this.#receive = (signal) => this.#whileWaiting(signal);
  }

  #whileWaiting(signal: Handled): void {
    if (signal === "SIGTSTP") suspend();
    else if (signal !== "SIGCONT" && signal !== "SIGWINCH") {
      const message = `stopped waiting for ${this.#waitsFor} (${signal})`;
      this.#controller.abort(new CliError(signalExitCode(signal), message));
    }
  }
}

/**
 * Ctrl-Z: a suspended holdfast renews nothing, so the command stands still with it, and goes on only if the lock is
 * still held then. It gets SIGSTOP, because the system discards SIGTSTP in a session without a terminal.
 */
function whileRunning(signal: Handled, held: Held, child: Child): void {
  if (signal === "SIGTSTP") {
    child.signal("SIGSTOP");
    suspend();
  } else if (signal !== "SIGCONT" || held.held) child.signal(signal);
}

function suspend(): void {
  process.kill(process.pid, "SIGSTOP");
}

async function guard(held: Held, title: string, child: Child, grace: number): Promise<number | LockLostError> {
  let onLost = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    onLost = () => void stop(held, title, child, grace).finally(resolve);
  });
  held.signal.addEventListener("abort", onLost, { once: true });
  if (held.signal.aborted) onLost();
  const status = await Promise.race([child.ended, stopped]).catch((error: unknown) => {
    // There is no command to be stopped when holdfast itself gives the lock back.
    held.signal.removeEventListener("abort", onLost);
    throw error;
  });
  // Looks at the clock, for both may have happened while this process stood still; then onLost has just been called.
  if (status !== undefined && held.held) {
    held.signal.removeEventListener("abort", onLost);
    return status;
  }
  await stopped;
  return held.signal.reason as LockLostError;
}

async function stop(held: Held, title: string, child: Child, grace: number): Promise<void> {
  const stopped = child.stop(grace);
  const how = `stopping the command (SIGTERM, SIGKILL after ${formatDuration(grace)})`;
  const told = complain(`${lossOf(held, title)}; ${how}`);
  if (!(await stopped)) await complain(`process group ${child.group} could not be stopped, and is still running`);
  await told;
}

/** One sentence. */
export function lossOf({ signal }: Held, title: string): string {
  const reason = signal.reason instanceof LockLostError ? signal.reason.reason : "expired";
  const why = {
    expired: "its lease ended, or the server no longer knew it",
    stolen: "it was taken by force",
    unreachable: "the server could not be reached to renew it",
    closed: "holdfast is ending",
  }[reason];
  return `${title} was lost: ${why}`;
}

export function titleOf({ name, fence }: { readonly name: string; readonly fence: number }): string {
  return `${plain(name)} (fence ${fence})`;
}

/** Who holds: host:pid:program, unless another was given. */
export function labelFor(file: string, given: string | undefined): string {
  return given ?? `${hostname()}:${process.pid}:${basename(file)}`.slice(0, 256).toWellFormed();
}

/** What the command finds in its environment. */
export function environment(lock: { name: string; fence: number; token: string }): NodeJS.ProcessEnv {
  const { name, fence, token } = lock;
  return { ...process.env, HOLDFAST_LOCK: name, HOLDFAST_FENCE: String(fence), HOLDFAST_TOKEN: token };
}
