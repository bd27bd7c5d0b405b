/** What reaches holdfast from outside, while it waits and while the command runs: signals, and bugs. */
import { CliError } from "./cli-error.ts";
import type { Child } from "./child.ts";
import { exactDuration } from "./durations.ts";
import { signalExitCode } from "./exit-codes.ts";
import { ignoredSignals } from "./inherited.ts";
import { complain, complainAtOnce } from "./messages.ts";
import { isInBackground } from "./terminal.ts";

/** Handled from the start to the end, so that none finds holdfast between two states. */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;
const HANDLED = [...FORWARDED, "SIGTSTP", "SIGCONT"] as const;
type Handled = (typeof HANDLED)[number];

/** What must end, besides the command. */
const ENDING: ReadonlySet<Handled> = new Set(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]);

/** The third Ctrl-C in a row kills the command. A user who cancels lines at a prompt with Ctrl-C types in between. */
const KILLING = 3;
const IN_A_ROW = 2_000;
/** A command that still runs this long after a Ctrl-C may be ignoring it. */
const NOTICE_AFTER = 1_000;

export interface Guarded {
  readonly child: Child;
  /** False once the lock is lost: then nothing may let the command go on. */
  readonly mayRun: () => boolean;
}

export class Interruptions {
  readonly #waitsFor: string;
  readonly #quiet: boolean;
  readonly #controller = new AbortController();
  readonly #crash: Promise<never>;
  #guarded: Guarded | undefined;
  #mayWait = true;
  #interrupts = 0;
  #lastInterrupt = -Infinity;
  #notice: NodeJS.Timeout | undefined;
  /** The signal that is to end more than the present command. */
  #ending: Handled | undefined;

  /** @param waitsFor in messages */
  constructor(waitsFor: string, quiet = false) {
    this.#waitsFor = waitsFor;
    this.#quiet = quiet;
    for (const signal of HANDLED) {
      if (!ignoredSignals.has(signal)) process.on(signal, () => this.#receive(signal));
    }
    this.#crash = new Promise<never>((_, reject) => process.on("uncaughtException", reject));
  }

  /** Aborted, with a CliError as its reason, by a signal that ends the waiting. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Rejects when something was thrown that nobody caught. */
  orCrash<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#crash]);
  }

  /** From now on signals are for the command. */
  forwardTo(guarded: Guarded): void {
    this.#guarded = guarded;
    this.#mayWait = false;
    this.#ending = undefined;
  }

  /** The command is over. Until `waitAgain` signals do nothing, because what is left to do takes no time. */
  stopForwarding(): void {
    this.#guarded = undefined;
    clearTimeout(this.#notice);
  }

  /** The next command is waited for, unless a signal that came while this one was stopped is to end that, too. */
  waitAgain(): void {
    this.#mayWait = true;
    if (this.#ending) this.#stopWaiting(this.#ending);
  }

  #receive(signal: Handled): void {
    if (this.#guarded) {
      // Before the loss of the lock, the others may have another meaning to the command.
      if (signal === "SIGTERM" || (ENDING.has(signal) && !this.#guarded.mayRun())) this.#ending = signal;
      this.#whileRunning(signal, this.#guarded);
    } else if (this.#mayWait) this.#whileWaiting(signal);
  }

  #whileWaiting(signal: Handled): void {
    if (signal === "SIGTSTP") suspend();
    else if (signal !== "SIGCONT" && signal !== "SIGWINCH") this.#stopWaiting(signal);
  }

  #stopWaiting(signal: Handled): void {
    const message = `stopped waiting for ${this.#waitsFor} (${signal})`;
    this.#controller.abort(new CliError(signalExitCode(signal), message, { expected: true }));
  }

  /**
   * Ctrl-Z: a suspended holdfast renews nothing, so the command is suspended with it, and continues only if the lock is
   * still held then. It gets SIGSTOP, because the system discards SIGTSTP in a session without a terminal.
   */
  #whileRunning(signal: Handled, { child, mayRun }: Guarded): void {
    if (signal === "SIGTSTP") {
      child.signal("SIGSTOP");
      suspend();
    } else if (signal === "SIGINT") {
      this.#interrupt(child);
    } else if (signal !== "SIGCONT") {
      child.signal(signal);
    } else if (child.readsTerminal && isInBackground()) {
      complainAtOnce("the command reads the terminal, so it cannot run in the background; continue it with fg");
      suspend();
    } else if (mayRun()) child.signal(signal);
  }

  #interrupt(child: Child): void {
    const now = performance.now();
    this.#interrupts = now - this.#lastInterrupt < IN_A_ROW ? this.#interrupts + 1 : 1;
    this.#lastInterrupt = now;
    child.signal(this.#interrupts < KILLING ? "SIGINT" : "SIGKILL");
    if (this.#quiet) return;
    if (this.#interrupts === KILLING - 1) {
      void complain(
        `sent SIGINT again; Ctrl-C once more within ${exactDuration(IN_A_ROW)} kills the command (SIGKILL)`,
      );
    }
    // Said once: at a prompt Ctrl-C has another meaning.
    this.#notice ??= setTimeout(() => {
      void complain("the command was sent SIGINT and still runs; Ctrl-C three times in a row kills it (SIGKILL)");
    }, NOTICE_AFTER).unref();
  }
}

function suspend(): void {
  process.kill(process.pid, "SIGSTOP");
}
