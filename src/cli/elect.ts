/**
 * Keep a command running on one of many machines: it is started where this process is elected, stopped where the
 * lease is lost, and started where leadership goes next. When the command ends by itself, so does holdfast, and
 * another candidate starts it.
 *
 * Guarantees and does not guarantee what `exec` does.
 */
import { LockLostError } from "../errors.ts";
import type { Term } from "../primitives/election.ts";
import { checkName } from "../options/request.ts";
import { Child } from "./child.ts";
import { Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { ExitCode } from "./exit-codes.ts";
import { environment, Interruptions, labelFor, titleOf } from "./guarded.ts";
import { complain, plain } from "./messages.ts";
import { groupRuns } from "./process-group.ts";

export interface ElectOptions extends ConnectionOptions {
  readonly ttl: number;
  readonly grace: number;
  readonly label?: string;
  readonly quiet?: boolean;
}

/** @returns the exit code */
export async function elect(name: string, words: readonly string[], options: ElectOptions): Promise<number> {
  const [file = ""] = words;
  const interruptions = new Interruptions(plain(name));
  const { signal } = interruptions;
  const manager = { ttl: options.ttl, label: labelFor(file, options.label) };
  checkName(name);
  await using session = await interruptions.orCrash(Session.open(options, manager, signal));
  return await interruptions.orCrash(campaign(session.locks.elect(name, { signal }), words, interruptions, options));
}

async function campaign(
  terms: AsyncIterable<Term>,
  words: readonly string[],
  interruptions: Interruptions,
  options: ElectOptions,
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
  [file = "", ...args]: readonly string[],
  interruptions: Interruptions,
  { grace, quiet }: ElectOptions,
): Promise<number | undefined> {
  const title = titleOf(term);
  if (!quiet) await complain(`elected: ${title}`);
  const child = new Child(file, args, environment(term));
  const end = await interruptions.guard(term, title, child, grace);
  if (!(end instanceof LockLostError)) return end;
  // What could not be stopped must not get company.
  if (child.group !== undefined && groupRuns(child.group)) return ExitCode.lost;
  return undefined;
}
