/**
 * Run a command on one of the machines whose cron fires. Those that do not run it end with 0, and say who did.
 *
 * Guarantees and does not guarantee what `exec` does; the lock stays held for a time after the command.
 */
import { LockLostError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { OnceResult } from "../primitives/once.ts";
import { checkName } from "../options/request.ts";
import { Child } from "./child.ts";
import { refuseOverSeveral, Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { formatDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { environment, Interruptions, labelFor, titleOf } from "./guarded.ts";
import { complain, plain } from "./messages.ts";

export interface OnceOptions extends ConnectionOptions {
  readonly atMost: number;
  readonly atLeast: number;
  readonly ttl: number;
  readonly grace: number;
  readonly label?: string;
  readonly quiet?: boolean;
}

/** How a command failed that ran: for others a job that threw. */
class Failed extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit code ${status}`);
    this.status = status;
  }
}

/** @returns the exit code */
export async function once(name: string, words: readonly string[], options: OnceOptions): Promise<number> {
  const [file = "", ...args] = words;
  const { atMost, atLeast, ttl, grace, quiet } = options;
  checkName(name);
  refuseOverSeveral(options, "once");
  const interruptions = new Interruptions(plain(name));
  const manager = { ttl, label: labelFor(file, options.label) };
  await using session = await interruptions.orCrash(Session.open(options, manager, interruptions.signal));
  const run = async (lock: Lock): Promise<void> => {
    interruptions.signal.throwIfAborted();
    const child = new Child(file, args, environment(lock));
    const end = await interruptions.guard(lock, titleOf(lock), child, grace);
    if (typeof end === "number" && end !== 0) throw new Failed(end);
  };
  try {
    const result = await interruptions.orCrash(session.locks.once(name, { atMost, atLeast, ttl }, run));
    if (!result.ran && !quiet) await complain(`${plain(name)} is not run here: ${whoElse(result)}`);
    return 0;
  } catch (error) {
    if (error instanceof Failed) return error.status;
    // It has been told when the command was stopped.
    if (error instanceof LockLostError) return ExitCode.lost;
    throw error;
  }
}

function whoElse({ state, by, started, remaining }: OnceResult<never> & { ran: false }): string {
  const since = started ? `, started ${started.toISOString()}` : "";
  const again = state === "running" || remaining === undefined ? "" : `; free in ${formatDuration(remaining)}`;
  return `${state} by ${plain(by || "(unknown)")}${since}${again}`;
}
