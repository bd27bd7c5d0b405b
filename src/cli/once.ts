/**
 * Run a command on one of the machines whose cron fires. Those that do not run it end with 0, and say who did.
 *
 * Guarantees and does not guarantee what `exec` does; the lock stays held for a time after the command. A command that
 * was never started has not run: the lock is released then, so that another machine can run it.
 */
import { LockLostError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { JobNotStarted } from "../primitives/once.ts";
import type { OnceResult } from "../primitives/once.ts";
import { Child } from "./child.ts";
import { CliError } from "./cli-error.ts";
import { Session } from "./connection.ts";
import type { RunningOptions } from "./options.ts";
import { exactDuration, roundDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { assertExecutable } from "./executable.ts";
import { environment, guard, labelFor, titleOf } from "./guarded.ts";
import { Interruptions } from "./interruptions.ts";
import { complain, plain, quoted } from "./messages.ts";

export interface OnceOptions extends RunningOptions {
  readonly atMost: number;
  readonly atLeast: number;
}

/** More than what a lease is shortened by, as a part of it. */
const DRIFT = 0.02;

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
  const [file = ""] = words;
  const { atMost, atLeast, ttl, grace, quiet } = options;
  if (atLeast > atMost) {
    const [least, most] = [exactDuration(atLeast), exactDuration(atMost)];
    throw new CliError(ExitCode.usage, `--at-least ${least} must not be longer than --at-most ${most}`);
  }
  // Others that try meanwhile would take a lock that is held for a moment for a job that runs.
  assertExecutable(file);
  const interruptions = new Interruptions(quoted(name), quiet);
  const manager = { ttl, label: labelFor(file, options.label) };
  await using session = await interruptions.orCrash(Session.open(options, manager, interruptions.signal));
  // Its time counts from when it was requested, and is a little shorter, because clocks run at different speeds.
  const latest = performance.now() + atMost - DRIFT * Math.min(ttl, atMost) - 10;
  const explain = (): string | undefined =>
    performance.now() < latest ? undefined : `${quoted(name)} ran longer than --at-most ${exactDuration(atMost)}`;
  const run = async (lock: Lock): Promise<void> => {
    let child: Child | undefined;
    try {
      interruptions.signal.throwIfAborted();
      child = new Child(words, environment(lock));
      const end = await guard(lock, child, interruptions, { title: titleOf(lock), grace, explain });
      if (typeof end === "number" && end !== 0) throw new Failed(end);
    } catch (error) {
      throw child?.group === undefined ? new JobNotStarted(error) : error;
    }
  };
  try {
    const result = await interruptions.orCrash(session.locks.once(name, { atMost, atLeast, ttl }, run));
    if (!result.ran && !quiet) await complain(`skipped ${quoted(name)}: ${whoElse(result)}`);
    return 0;
  } catch (error) {
    if (error instanceof Failed) return error.status;
    // It has been told when the command was stopped.
    if (error instanceof LockLostError) return ExitCode.lost;
    throw error;
  }
}

function whoElse({ state, by, started, remaining }: OnceResult<never> & { ran: false }): string {
  const who = plain(by || "(unknown)");
  const outcomes = { running: `${who} is running it`, done: `already done by ${who}`, failed: `it failed on ${who}` };
  const since = started ? ` (started ${started.toISOString()})` : "";
  const again = state === "running" || remaining === undefined ? "" : `; can run again in ${roundDuration(remaining)}`;
  return `${outcomes[state]}${since}${again}`;
}
