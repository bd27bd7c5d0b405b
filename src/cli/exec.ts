/**
 * Hold a lock while a command runs.
 *
 * The lock is released when the command ends; what the command leaves running in the background is not waited for.
 *
 * Guarantees that the command gets SIGTERM when the lock is lost, at the local deadline of the lease, even while
 * the server does not answer. Does not guarantee that it has stopped by then: SIGTERM takes its time, and nothing
 * can stop it once holdfast itself is killed with SIGKILL. What the command changes is safe if it passes on
 * HOLDFAST_FENCE, and what it changes refuses a smaller one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LockError, LockLostError, LockTimeoutError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { LockManager } from "../lock-manager.ts";
import type { SeveralLocks } from "../primitives/several.ts";
import { Child } from "./child.ts";
import { CliError } from "./cli-error.ts";
import { CLOSE_LIMIT, refuseOverSeveral, Session } from "./connection.ts";
import { exactDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { withPointer } from "./failures.ts";
import { environment, guard, labelFor, lossOf, titleOf } from "./guarded.ts";
import { Interruptions } from "./interruptions.ts";
import { lookAt, whoHolds } from "./listing.ts";
import { complain, quoted } from "./messages.ts";
import { checkNameToHold } from "./options.ts";
import type { Permits, RunningOptions } from "./options.ts";

export interface ExecOptions extends RunningOptions {
  /** More names, to be held with the first. */
  readonly lock?: readonly string[];
  /** Milliseconds; indefinitely if left out. */
  readonly wait?: number;
  /** The exit code if the lock is not free in time. */
  readonly conflictExitCode: number;
  readonly shared?: boolean;
  /** Of a semaphore, in place of a lock. */
  readonly permits?: Permits;
}

/** After this time a message says which lock holdfast waits for. */
const NOTICE_AFTER = 300;
/** Saying who holds a lock is a courtesy, not worth a longer wait. */
const COURTESY_LIMIT = 1_000;

/** @returns the exit code */
export async function exec(name: string, words: readonly string[], options: ExecOptions): Promise<number> {
  const [file = ""] = words;
  const names = [name, ...(options.lock ?? []).map(checkNameToHold)];
  refuseUnfit(names, options);
  const interruptions = new Interruptions(listed(names), options.quiet);
  const manager = { ttl: options.ttl, label: labelFor(file, options.label) };
  await using session = await interruptions.orCrash(Session.open(options, manager, interruptions.signal));
  const lock = await interruptions.orCrash(obtain(session.locks, names, options, interruptions.signal));
  const title = "name" in lock ? titleOf(lock) : `one of ${listed(names)}`;
  const child = new Child(words, environmentOf(lock, name));
  const end = await guard(lock, child, interruptions, { title, grace: options.grace });
  if (end instanceof LockLostError) {
    // Waiting for a server that is gone would help nobody.
    if (end.reason === "unreachable") await session.close(0);
    return ExitCode.lost;
  }
  const wasHeld = await giveBack(session, lock, title, options);
  // A failure of the command's own is not masked.
  return wasHeld || end !== 0 ? end : ExitCode.lost;
}

/** @throws CliError for options that do not go together */
function refuseUnfit(names: readonly string[], options: ExecOptions): void {
  const { permits, shared, scheme } = options;
  const other = shared ? "--shared" : names.length > 1 ? "--lock" : undefined;
  if (permits && other) throw new CliError(ExitCode.usage, `--permits cannot be combined with ${other}`);
  const unfit = shared ? "--shared" : permits ? "--permits" : undefined;
  if (!unfit) return;
  if (permits) refuseOverSeveral(options, unfit);
  if (scheme === "set") throw new CliError(ExitCode.usage, `--scheme set has exclusive locks only; leave out ${unfit}`);
}

function listed(names: readonly string[]): string {
  return names.map(quoted).join(", ");
}

/** Of several locks, those variables that are for one are of the one that was named first. */
function environmentOf(lock: Lock | SeveralLocks, name: string): NodeJS.ProcessEnv {
  if ("name" in lock) return environment(lock);
  const { fences, tokens } = lock;
  return environment({ name, fence: fences.get(name) as number, token: tokens.get(name) as string }, fences);
}

async function obtain(
  locks: LockManager,
  names: readonly string[],
  options: ExecOptions,
  signal: AbortSignal,
): Promise<Lock | SeveralLocks> {
  const { wait, shared, permits, quiet } = options;
  const [name = ""] = names;
  let settled = false;
  const announce = async (): Promise<void> => {
    // Of several, some may be held by ourselves.
    const holders = names.length === 1 ? await courtesy(locks, names) : "";
    if (!settled) await complain(`waiting for ${listed(names)}${holders}`);
  };
  const notice = quiet ? undefined : setTimeout(() => void announce(), NOTICE_AFTER);
  const request = { mode: shared ? "shared" : "exclusive", waitTimeout: wait, signal } as const;
  try {
    if (permits) {
      const semaphore = locks.semaphore(name, permits.limit);
      return await semaphore.acquire({ permits: permits.permits, waitTimeout: wait, signal });
    }
    return await (names.length === 1 ? locks.acquire(name, request) : locks.acquire(names, request));
  } catch (error) {
    settled = true;
    if (error instanceof LockTimeoutError) throw notFree(names, options, await courtesy(locks, names), error);
    if (error instanceof LockError && error.code === "mismatch") throw await mismatched(locks, names, permits, error);
    throw error;
  } finally {
    settled = true;
    clearTimeout(notice);
  }
}

function notFree(
  names: readonly string[],
  { wait = 0, conflictExitCode }: ExecOptions,
  holders: string,
  cause: unknown,
): CliError {
  const within = wait === 0 ? "" : ` within ${exactDuration(wait)}`;
  const was = names.length === 1 ? "was" : "were";
  return new CliError(conflictExitCode, `${listed(names)} ${was} not free${within}${holders}`, {
    cause,
    expected: true,
  });
}

/** The name is in use as a lock, as a semaphore, or as one with another limit. */
async function mismatched(
  locks: LockManager,
  names: readonly string[],
  wanted: Permits | undefined,
  cause: unknown,
): Promise<CliError> {
  const all = await withinReason(Promise.all(names.map((name) => lookAt(locks, name))));
  const found = all.find(
    ({ limit, holders, waiters }) => limit !== (wanted?.limit ?? null) && (holders[0] ?? waiters[0]),
  );
  const kind = found?.limit == null ? "a lock" : `a semaphore with ${found.limit} permits`;
  const asked = wanted ? `--permits ${wanted.permits}/${wanted.limit}` : "no --permits";
  const remedy =
    found?.limit != null && wanted
      ? `Everyone who uses a semaphore must give the same limit: --permits N/${found.limit}.`
      : "While a name is in use, it is either a lock or a semaphore: use another name.";
  const what = found
    ? `${quoted(found.name)} is in use as ${kind}`
    : `${listed(names)} is in use as another kind of lock`;
  return new CliError(ExitCode.usage, `${what}, but you gave ${asked}. ${remedy}`, { cause });
}

/** None if it takes too long to tell. */
async function withinReason<T>(looks: Promise<T[]>): Promise<T[]> {
  return Promise.race([looks.catch(() => []), sleep(COURTESY_LIMIT, [])]);
}

/** Who holds the lock, to complete a sentence. Empty if that cannot be found out quickly. */
async function courtesy(locks: LockManager, names: readonly string[]): Promise<string> {
  const looks = await withinReason(Promise.all(names.map((name) => lookAt(locks, name))));
  const found = looks.find(({ holders }) => holders.length > 0);
  if (!found) return "";
  const { name, holders, waiters, mode } = found;
  const queue = waiters.length === 0 ? "" : ` (${waiters.length} waiting)`;
  const which = names.length === 1 ? "" : `${quoted(name)} is `;
  return `: ${which}${mode === "shared" ? "shared" : "held"} by ${whoHolds(holders)}${queue}`;
}

/** @returns false if the server no longer knew that the lock was held */
async function giveBack(
  session: Session,
  lock: Lock | SeveralLocks,
  title: string,
  { ttl, quiet }: ExecOptions,
): Promise<boolean> {
  const released = lock.release();
  const answered = await Promise.race([released.then(() => true), sleep(CLOSE_LIMIT, false)]);
  await session.close(answered ? undefined : 0);
  if (!answered) {
    const [what, will] = "name" in lock ? [quoted(lock.name), "it"] : ["the locks", "they"];
    const bound = `${will} will be free within ${exactDuration(ttl)}`;
    if (!quiet) await complain(`the server did not confirm the release of ${what}; ${bound}`);
    return true;
  }
  if (await released) return true;
  await complain(withPointer(`${lossOf(lock, title)}, before the command ended`, "lost"));
  return false;
}
