/**
 * Hold a lock while a command runs.
 *
 * The lock is released when the command ends; what the command leaves running in the background is not waited for.
 *
 * Guarantees that the command is told to stop when the lock is lost, at the local deadline of the lease, also while
 * the server does not answer. Does not guarantee that it has stopped by then: SIGTERM takes its time, and nothing
 * can stop it once holdfast itself is killed with SIGKILL. What the command changes is safe if it passes on
 * HOLDFAST_FENCE, and what it changes refuses a smaller one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LockLostError, LockTimeoutError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { LockManager } from "../lock-manager.ts";
import { checkName } from "../options/request.ts";
import type { SeveralLocks } from "../primitives/several.ts";
import { Child } from "./child.ts";
import { CLOSE_LIMIT, refuseOverSeveral, Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { formatDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";
import { environment, Interruptions, labelFor, lossOf, titleOf } from "./guarded.ts";
import { lookAt, whoHolds } from "./listing.ts";
import { complain, plain } from "./messages.ts";
import type { Permits } from "./permits.ts";

export interface ExecOptions extends ConnectionOptions {
  /** More names, to be held with the first. */
  readonly lock?: readonly string[];
  readonly ttl: number;
  /** Milliseconds; for ever if left out. */
  readonly wait?: number;
  readonly grace: number;
  readonly shared?: boolean;
  /** Of a semaphore, in place of a lock. */
  readonly permits?: Permits;
  readonly label?: string;
  readonly quiet?: boolean;
}

/** Whoever waits for so long is told what for. */
const NOTICE_AFTER = 300;
/** Saying who holds a lock is a courtesy, not worth a longer wait. */
const COURTESY_LIMIT = 1_000;

/** @returns the exit code */
export async function exec(name: string, words: readonly string[], options: ExecOptions): Promise<number> {
  const [file = "", ...args] = words;
  const names = [name, ...(options.lock ?? [])];
  names.forEach(checkName);
  if (options.permits && (options.shared || names.length > 1)) {
    throw new CliError(ExitCode.usage, "expected --permits without --shared and --lock, which are for locks");
  }
  if (options.shared) refuseOverSeveral(options, "--shared");
  if (options.permits) refuseOverSeveral(options, "--permits");
  const interruptions = new Interruptions(listed(names));
  const manager = { ttl: options.ttl, label: labelFor(file, options.label) };
  await using session = await interruptions.orCrash(Session.open(options, manager, interruptions.signal));
  const lock = await interruptions.orCrash(obtain(session.locks, names, options, interruptions.signal));
  const title = "name" in lock ? titleOf(lock) : `one of ${listed(names)}`;
  const end = await interruptions.guard(lock, title, new Child(file, args, environmentOf(lock, name)), options.grace);
  if (end instanceof LockLostError) {
    // Waiting for a server that is gone would help nobody.
    if (end.reason === "unreachable") await session.close(0);
    return ExitCode.lost;
  }
  const wasHeld = await giveBack(session, lock, title, options);
  // A failure of the command's own is not masked.
  return wasHeld || end !== 0 ? end : ExitCode.lost;
}

function listed(names: readonly string[]): string {
  return names.map(plain).join(", ");
}

/** Of several locks, those variables that are for one are of the one that was named first. */
function environmentOf(lock: Lock | SeveralLocks, name: string): NodeJS.ProcessEnv {
  if ("name" in lock) return environment(lock);
  const { fences, tokens } = lock;
  const first = { name, fence: fences.get(name) as number, token: tokens.get(name) as string };
  return { ...environment(first), HOLDFAST_FENCES: JSON.stringify(Object.fromEntries(fences)) };
}

async function obtain(
  locks: LockManager,
  names: readonly string[],
  { wait, shared, permits, quiet }: ExecOptions,
  signal: AbortSignal,
): Promise<Lock | SeveralLocks> {
  const [name = ""] = names;
  let settled = false;
  const announce = async (): Promise<void> => {
    // Of several, some may be held by ourselves.
    const holders = names.length === 1 ? await courtesy(locks, names) : "";
    if (!settled) await complain(`waiting for ${listed(names)}${holders}`);
  };
  const notice = quiet ? undefined : setTimeout(() => void announce(), NOTICE_AFTER);
  const options = { mode: shared ? "shared" : "exclusive", waitTimeout: wait, signal } as const;
  try {
    if (permits) {
      const semaphore = locks.semaphore(name, permits.limit);
      return await semaphore.acquire({ permits: permits.permits, waitTimeout: wait, signal });
    }
    return await (names.length === 1 ? locks.acquire(name, options) : locks.acquire(names, options));
  } catch (error) {
    settled = true;
    if (!(error instanceof LockTimeoutError)) throw error;
    const within = wait === 0 ? "" : ` within ${formatDuration(wait ?? 0)}`;
    const was = names.length === 1 ? "was" : "were";
    const message = `${listed(names)} ${was} not free${within}${await courtesy(locks, names)}`;
    throw new CliError(ExitCode.timeout, message, { cause: error });
  } finally {
    settled = true;
    clearTimeout(notice);
  }
}

/** Who is in the way, to complete a sentence. Empty if that cannot be told quickly. */
async function courtesy(locks: LockManager, names: readonly string[]): Promise<string> {
  const look = Promise.all(names.map((name) => lookAt(locks, name))).catch(() => []);
  const looks = await Promise.race([look, sleep(COURTESY_LIMIT, [])]);
  const found = looks.find(({ holders }) => holders.length > 0);
  if (!found) return "";
  const { name, holders, waiters, mode } = found;
  const queue = waiters.length === 0 ? "" : `; ${waiters.length} in line`;
  const which = names.length === 1 ? "" : `${plain(name)} is `;
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
    const were = "name" in lock ? `${plain(lock.name)} was released; it is` : "the locks were released; they are";
    const bound = `free in ${formatDuration(ttl)} at the latest`;
    if (!quiet) await complain(`the server did not answer when ${were} ${bound}`);
    return true;
  }
  if (await released) return true;
  await complain(`${lossOf(lock, title)}, before the command ended`);
  return false;
}
