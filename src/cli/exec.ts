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
import { hostname } from "node:os";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LockLostError, LockTimeoutError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { LockManager } from "../lock-manager.ts";
import { checkName } from "../options.ts";
import { Child } from "./child.ts";
import { Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { formatDuration } from "./durations.ts";
import { ExitCode, signalExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";
import { lookAt, whoHolds } from "./listing.ts";
import { complain, plain } from "./messages.ts";

export interface ExecOptions extends ConnectionOptions {
  readonly ttl: number;
  /** Milliseconds; for ever if left out. */
  readonly wait?: number;
  readonly grace: number;
  readonly shared?: boolean;
  readonly label?: string;
  readonly quiet?: boolean;
}

/** Whoever waits for so long is told what for. */
const NOTICE_AFTER = 300;
/** Saying who holds a lock is a courtesy, not worth a longer wait. */
const COURTESY_LIMIT = 1_000;

/** Handled from the start to the end, so that none finds holdfast between two states. What the state is says `receive`. */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;
const HANDLED = [...FORWARDED, "SIGTSTP", "SIGCONT"] as const;
type Handled = (typeof HANDLED)[number];

/** @returns the exit code */
export async function exec(name: string, words: readonly string[], options: ExecOptions): Promise<number> {
  const [file = "", ...args] = words;
  checkName(name);
  const interruption = new AbortController();
  let receive = (signal: Handled): void => whileWaiting(signal, name, interruption);
  for (const signal of HANDLED) process.on(signal, () => receive(signal));
  const crash = new Promise<never>((_, reject) => process.on("uncaughtException", reject));
  const orCrash = <T>(work: Promise<T>): Promise<T> => Promise.race([work, crash]);

  const label = options.label ?? `${hostname()}:${process.pid}:${basename(file)}`.slice(0, 256).toWellFormed();
  await using session = await orCrash(Session.open(options, { ttl: options.ttl, label }, interruption.signal));
  const lock = await orCrash(obtain(session.locks, name, options, interruption.signal));
  const child = new Child(file, args, {
    ...process.env,
    HOLDFAST_LOCK: name,
    HOLDFAST_FENCE: String(lock.fence),
    HOLDFAST_TOKEN: lock.token,
  });
  receive = (signal) => whileRunning(signal, lock, child);
  const end = await orCrash(guard(lock, child, options.grace)).catch(async (error: unknown) => {
    // A bug in here or in a client library must not leave the command running without a guard.
    await child.stop(options.grace);
    throw error;
  });
  receive = () => {};
  if (end instanceof LockLostError) {
    // Waiting for a server that is gone would help nobody.
    if (end.reason === "unreachable") await session.close(0);
    return ExitCode.lost;
  }
  const wasHeld = await giveBack(session, lock, options);
  // A failure of the command's own is not masked.
  return wasHeld || end !== 0 ? end : ExitCode.lost;
}

function whileWaiting(signal: Handled, name: string, interruption: AbortController): void {
  if (signal === "SIGTSTP") suspend();
  else if (signal !== "SIGCONT" && signal !== "SIGWINCH") {
    interruption.abort(new CliError(signalExitCode(signal), `stopped waiting for ${plain(name)} (${signal})`));
  }
}

/**
 * Ctrl-Z: a suspended holdfast renews nothing, so the command stands still with it, and goes on only if the lock is
 * still held then. It gets SIGSTOP, because the system discards SIGTSTP in a session without a terminal.
 */
function whileRunning(signal: Handled, lock: Lock, child: Child): void {
  if (signal === "SIGTSTP") {
    child.signal("SIGSTOP");
    suspend();
  } else if (signal !== "SIGCONT" || lock.held) child.signal(signal);
}

function suspend(): void {
  process.kill(process.pid, "SIGSTOP");
}

async function obtain(
  locks: LockManager,
  name: string,
  { wait, shared, quiet }: ExecOptions,
  signal: AbortSignal,
): Promise<Lock> {
  let settled = false;
  const announce = async (): Promise<void> => {
    const holders = await courtesy(locks, name);
    if (!settled) await complain(`waiting for ${plain(name)}${holders}`);
  };
  const notice = quiet ? undefined : setTimeout(() => void announce(), NOTICE_AFTER);
  try {
    return await locks.acquire(name, { mode: shared ? "shared" : "exclusive", waitTimeout: wait, signal });
  } catch (error) {
    settled = true;
    if (!(error instanceof LockTimeoutError)) throw error;
    const within = wait === 0 ? "" : ` within ${formatDuration(wait ?? 0)}`;
    const message = `${plain(name)} was not free${within}${await courtesy(locks, name)}`;
    throw new CliError(ExitCode.timeout, message, { cause: error });
  } finally {
    settled = true;
    clearTimeout(notice);
  }
}

/** Who is in the way, to complete a sentence. Empty if that cannot be told quickly. */
async function courtesy(locks: LockManager, name: string): Promise<string> {
  const look = lookAt(locks, name).catch(() => undefined);
  const found = await Promise.race([look, sleep(COURTESY_LIMIT, undefined)]);
  if (!found || found.holders.length === 0) return "";
  const { holders, waiters, mode } = found;
  const queue = waiters.length === 0 ? "" : `; ${waiters.length} in line`;
  return `: ${mode === "shared" ? "shared" : "held"} by ${whoHolds(holders)}${queue}`;
}

/**
 * Until the command has ended, or the lock was lost and the command's group stopped.
 *
 * @returns the command's exit code, or how the lock was lost
 */
async function guard(lock: Lock, child: Child, grace: number): Promise<number | LockLostError> {
  let onLost = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    onLost = () => void stop(lock, child, grace).finally(resolve);
  });
  lock.signal.addEventListener("abort", onLost, { once: true });
  if (lock.signal.aborted) onLost();
  const status = await Promise.race([child.ended, stopped]);
  // Looks at the clock, for both may have happened while this process stood still; then onLost has just been called.
  if (status !== undefined && lock.held) {
    lock.signal.removeEventListener("abort", onLost);
    return status;
  }
  await stopped;
  return lock.signal.reason as LockLostError;
}

async function stop(lock: Lock, child: Child, grace: number): Promise<void> {
  const stopped = child.stop(grace);
  const told = complain(`${lossOf(lock)}; stopping the command (SIGTERM, SIGKILL after ${formatDuration(grace)})`);
  if (!(await stopped)) await complain(`process group ${child.group} could not be stopped, and is still running`);
  await told;
}

/** @returns false if the server no longer knew that the lock was held */
async function giveBack(session: Session, lock: Lock, { ttl, quiet }: ExecOptions): Promise<boolean> {
  const released = lock.release();
  if (!(await session.close())) {
    const bound = `it is free in ${formatDuration(ttl)} at the latest`;
    if (!quiet) await complain(`the server did not answer when ${plain(lock.name)} was released; ${bound}`);
    return true;
  }
  if (await released) return true;
  await complain(`${lossOf(lock)}, before the command ended`);
  return false;
}

function lossOf(lock: Lock): string {
  const reason = lock.signal.reason instanceof LockLostError ? lock.signal.reason.reason : "expired";
  const why = {
    expired: "its lease ended, or the server no longer knew it",
    stolen: "it was taken by force",
    unreachable: "the server could not be reached to renew it",
  }[reason];
  return `${plain(lock.name)} (fence ${lock.fence}) was lost: ${why}`;
}
