/**
 * Keep a command running on one of many machines: it is started where this process is elected, stopped where the
 * lease is lost, and started where leadership goes next. When the command ends by itself, so does holdfast, and
 * another candidate starts it.
 *
 * Guarantees and does not guarantee what `exec` does.
 */
import { LockLostError } from "../errors.ts";
import type { Term } from "../primitives/election.ts";
import { Child } from "./child.ts";
import { Session } from "./connection.ts";
import { ExitCode } from "./exit-codes.ts";
import { environment, guard, labelFor, titleOf } from "./guarded.ts";
import { Interruptions } from "./interruptions.ts";
import { complain, quoted } from "./messages.ts";
import type { RunningOptions } from "./options.ts";
import { groupRuns } from "./process-group.ts";

/** @returns the exit code */
export async function elect(name: string, words: readonly string[], options: RunningOptions): Promise<number> {
  const [file = ""] = words;
  const interruptions = new Interruptions(quoted(name), options.quiet);
  const { signal } = interruptions;
  const manager = { ttl: options.ttl, label: labelFor(file, options.label) };
  await using session = await interruptions.orCrash(Session.open(options, manager, signal));
  return await interruptions.orCrash(campaign(session.locks.elect(name, { signal }), words, interruptions, options));
}

async function campaign(
  terms: AsyncIterable<Term>,
  words: readonly string[],
  interruptions: Interruptions,
  options: RunningOptions,
): Promise<number> {
  for await (const term of terms) {
    const end = await lead(term, words, interruptions, options);
    if (end !== undefined) return end;
    interruptions.waitAgain();
  }
  throw interruptions.signal.reason;
}

/** The exit code to end with; undefined when the lease was lost and this machine is a candidate again. */
async function lead(
  term: Term,
  words: readonly string[],
  interruptions: Interruptions,
  { grace, quiet }: RunningOptions,
): Promise<number | undefined> {
  const title = titleOf(term);
  // Not waited for: a terminal that is paused must not keep the command from its start.
  if (!quiet) void complain(`elected for ${title}`);
  const child = new Child(words, environment(term));
  const end = await guard(term, child, interruptions, { title, grace });
  if (!(end instanceof LockLostError)) return end;
  // A command that could not be stopped must not be started a second time.
  if (child.group !== undefined && groupRuns(child.group)) return ExitCode.lost;
  return undefined;
}
