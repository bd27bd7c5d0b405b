/**
 * The guarded command: a child in its own session, and so in its own process group. A group can be stopped as a
 * whole, grandchildren included; only what leaves the group (setsid, a daemon) escapes.
 *
 * Its own session has no controlling terminal. Ctrl-C therefore reaches holdfast alone, which forwards it: once, where
 * a child in the terminal's foreground group would get it twice. Reading from and writing to the terminal work, as
 * descriptors are inherited and the job control of a terminal ignores other sessions. What does not work is opening
 * /dev/tty, and the job control of an interactive shell. (A group of its own within our session would be stopped by
 * SIGTTIN at its first read, and Node cannot make one.)
 *
 * Beyond what Node's spawn gives it, it inherits what a shell's command would: descriptors, and ignored signals.
 */
import { spawn } from "node:child_process";
import type { ChildProcess, IOType } from "node:child_process";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { LONGEST_TIMER } from "../clock.ts";
import { signalExitCode } from "./exit-codes.ts";
import { assertExecutable, cannotStart } from "./executable.ts";
import { ignoredSignals, inheritedDescriptors } from "./inherited.ts";
import { groupRuns, signalGroup } from "./process-group.ts";
import { isInBackground } from "./terminal.ts";

/** How often to see whether a group has ended: most of its members are not our children. */
const FIRST_LOOK = 10;
const LAST_LOOK = 160;
/** A process that SIGKILL has not ended by then is stuck in the kernel, or belongs to another user. */
const KILL_LIMIT = 1_000;

export class Child {
  readonly #process: ChildProcess;
  /** Its exit code, as a shell would report it. Rejects with a CliError when it could not be started. */
  readonly ended: Promise<number>;
  /** Its stdin is the terminal. */
  readonly readsTerminal: boolean;

  /** @throws CliError when it cannot be started */
  constructor([file = "", ...args]: readonly string[], env: NodeJS.ProcessEnv) {
    const stdin = isInBackground() ? "ignore" : "inherit";
    this.readsTerminal = stdin === "inherit" && isatty(0);
    this.#process = start(file, args, { stdio: [stdin, "inherit", "inherit", ...descriptors()], detached: true, env });
    this.ended = new Promise((resolve, reject) => {
      this.#process.once("error", (error) => reject(cannotStart(file, error)));
      this.#process.once("exit", (code, signal) => resolve(signal ? signalExitCode(signal) : (code ?? 0)));
    });
  }

  /** The process group, which is named after its leader; undefined if the command could not be started. */
  get group(): number | undefined {
    return this.#process.pid;
  }

  /** Send a signal to the whole group. */
  signal(signal: NodeJS.Signals): void {
    if (this.group !== undefined) signalGroup(this.group, signal);
  }

  /** SIGTERM at once, SIGKILL after `grace` milliseconds to what is left. False if something runs on nevertheless. */
  async stop(grace: number): Promise<boolean> {
    this.signal("SIGTERM");
    // A suspended process does not react to SIGTERM.
    this.signal("SIGCONT");
    if (await this.#endsWithin(grace)) return true;
    this.signal("SIGKILL");
    return this.#endsWithin(KILL_LIMIT);
  }

  async #endsWithin(limit: number): Promise<boolean> {
    const end = performance.now() + Math.min(limit, LONGEST_TIMER);
    for (
      let pause = FIRST_LOOK;
      this.group !== undefined && groupRuns(this.group);
      pause = Math.min(2 * pause, LAST_LOOK)
    ) {
      const left = end - performance.now();
      if (left <= 0) return false;
      await sleep(Math.min(pause, left));
    }
    return true;
  }
}

interface Settings {
  readonly stdio: (IOType | number)[];
  readonly detached: true;
  readonly env: NodeJS.ProcessEnv;
}

function start(file: string, args: readonly string[], settings: Settings): ChildProcess {
  let words = [file, ...args];
  if (ignoredSignals.size > 0) {
    // Node resets the signals of a child to their defaults, so a shell that ignores them becomes the command. It would
    // not tell us that there is no such program.
    assertExecutable(file);
    const numbers = [...ignoredSignals].map((signal) => constants.signals[signal]).join(" ");
    words = ["/bin/sh", "-c", `trap '' ${numbers}; exec "$@"`, "sh", ...words];
  }
  try {
    return spawn(words[0] as string, words.slice(1), settings);
  } catch (error) {
    throw cannotStart(file, error);
  }
}

/** What stands at each place from 3 on: "ignore" leaves a place empty there. */
function descriptors(): (IOType | number)[] {
  const inherited = new Set(inheritedDescriptors);
  const last = Math.max(2, ...inherited);
  return Array.from({ length: last - 2 }, (_, i) => (inherited.has(i + 3) ? i + 3 : "ignore"));
}
