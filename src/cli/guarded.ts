/** A command that runs while something is held: how it is stopped when that is lost, and its environment. */
import { hostname } from "node:os";
import { basename } from "node:path";
import { LockLostError } from "../errors.ts";
import type { Child } from "./child.ts";
import { exactDuration } from "./durations.ts";
import { withPointer } from "./failures.ts";
import type { Interruptions } from "./interruptions.ts";
import { complain, quoted } from "./messages.ts";

/** A lock, several, or a term of leadership. */
export interface Held {
  readonly held: boolean;
  readonly signal: AbortSignal;
}

export interface GuardOptions {
  /** The lock's name in messages. */
  readonly title: string;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly grace: number;
  /** Why it is stopped, if that is not the loss of a lock. */
  readonly explain?: () => string | undefined;
}

/**
 * Until the command has ended, or what it runs under was lost and its group stopped. Signals are forwarded meanwhile.
 *
 * @returns the command's exit code, or how it was lost
 * @throws CliError when the command could not be started
 */
export async function guard(
  held: Held,
  child: Child,
  interruptions: Interruptions,
  options: GuardOptions,
): Promise<number | LockLostError> {
  interruptions.forwardTo({ child, mayRun: () => held.held });
  try {
    return await interruptions.orCrash(untilOver(held, child, options));
  } catch (error) {
    // A bug in here or in a client library must not leave the command running without a guard.
    await child.stop(options.grace);
    throw error;
  } finally {
    interruptions.stopForwarding();
  }
}

async function untilOver(held: Held, child: Child, options: GuardOptions): Promise<number | LockLostError> {
  let onLost = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    onLost = () => void stop(held, child, options).finally(resolve);
  });
  held.signal.addEventListener("abort", onLost, { once: true });
  if (held.signal.aborted) onLost();
  const status = await Promise.race([child.ended, stopped]).catch((error: unknown) => {
    // There is no command to be stopped when holdfast itself gives the lock back.
    held.signal.removeEventListener("abort", onLost);
    throw error;
  });
  // Reads the clock, because both may have happened while this process stood still; then onLost has just been called.
  if (status !== undefined && held.held) {
    held.signal.removeEventListener("abort", onLost);
    return status;
  }
  await stopped;
  return held.signal.reason as LockLostError;
}

async function stop(held: Held, child: Child, { title, grace, explain }: GuardOptions): Promise<void> {
  const stopped = child.stop(grace);
  const how = `stopping the command (SIGTERM, then SIGKILL after ${exactDuration(grace)})`;
  const why = explain?.();
  const told = complain(withPointer(`${why ?? lossOf(held, title)}; ${how}`, why === undefined ? "lost" : undefined));
  if (!(await stopped)) await complain(`could not stop process group ${child.group}; it is still running`);
  await told;
}

/** One sentence. */
export function lossOf({ signal }: Held, title: string): string {
  const reason = signal.reason instanceof LockLostError ? signal.reason.reason : "expired";
  const why = {
    expired: "its lease expired before it could be renewed, or its key disappeared from the server",
    stolen: "it was taken by force",
    unreachable: "the server could not be reached to renew it",
    closed: "holdfast is ending",
  }[reason];
  return `lost ${title}: ${why}`;
}

export function titleOf({ name, fence }: { readonly name: string; readonly fence: number }): string {
  return `${quoted(name)} (fence ${fence})`;
}

/** The holder's label: host:pid:program, unless another was given. */
export function labelFor(file: string, given: string | undefined): string {
  return given ?? `${hostname()}:${process.pid}:${basename(file)}`.slice(0, 256).toWellFormed();
}

/** Variables for the command. Those of an outer holdfast, which runs this one, are removed. */
const VARIABLES = ["HOLDFAST_LOCK", "HOLDFAST_FENCE", "HOLDFAST_TOKEN", "HOLDFAST_FENCES"] as const;

/** The command's environment. */
export function environment(
  { name, fence, token }: { name: string; fence: number; token: string },
  fences?: ReadonlyMap<string, number>,
): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const variable of VARIABLES) delete env[variable];
  const own = { HOLDFAST_LOCK: name, HOLDFAST_FENCE: String(fence), HOLDFAST_TOKEN: token };
  const all = fences ? { HOLDFAST_FENCES: JSON.stringify(Object.fromEntries(fences)) } : {};
  return { ...env, ...own, ...all };
}
