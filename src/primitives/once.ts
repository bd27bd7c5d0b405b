/**
 * Run-once jobs: each machine tries the lock of the job's name, one gets it, and the others learn which one.
 * The lock stays held for a time after the job, so that machines whose clocks differ do not run it twice. What
 * ShedLock does for Java (https://github.com/lukas-krecan/ShedLock), with a lease that is renewed while the job runs.
 */
import type { Clock } from "../clock.ts";
import type { Lease } from "../leases/lease.ts";
import { Lock } from "../lock.ts";
import type { CheckedOnce } from "../options/once.ts";
import type { LockState } from "../schemes/scheme.ts";
import { holdDuring } from "./hold.ts";

/** What a run-once job needs to know of its manager. */
export interface OnceRoom {
  readonly clock: Clock;
  job(name: string, terms: { ttl: number; maxHold: number; label: string }): Promise<Lease | null>;
  /** Run a callback under this lease. */
  within<T>(lease: Lease, run: () => T): T;
  look(name: string): Promise<LockState | undefined>;
}

/** The outcome of a call of `once`. */
export type OnceResult<T> =
  | { readonly ran: true; readonly value: T; readonly fence: number }
  | {
      readonly ran: false;
      /** `failed`: it threw. A lock that was not taken by `once` counts as `running`. */
      readonly state: JobState;
      /** Who runs or ran it, for people: the label. */
      readonly by: string;
      /** When it was started, by that machine's clock. Undefined if it is not known (scheme `set`, while it runs). */
      readonly started: Date | undefined;
      /** Milliseconds until it can be run again, unless it is running and renewed. */
      readonly remaining: number | undefined;
    };

export type JobState = "running" | "done" | "failed";

/**
 * A job that finds that it cannot start throws this: it has not run, so the lock is released. `once` throws its cause.
 */
export class JobNotStarted extends Error {
  override readonly name = "JobNotStarted";

  constructor(cause: unknown) {
    super("The job was not started.", { cause });
  }
}

export async function once<T>(
  room: OnceRoom,
  { name, atMost, atLeast, ttl, label }: CheckedOnce,
  job: (lock: Lock) => T,
): Promise<OnceResult<Awaited<T>>> {
  for (;;) {
    const started = new Date();
    const labelled = (state: JobState): string =>
      `${label.slice(0, 200).toWellFormed()} (${state}, started ${started.toISOString()})`;
    const lease = await room.job(name, { ttl, maxHold: atMost, label: labelled("running") });
    if (lease) {
      await keepOthersOut(room, lease, atLeast, labelled);
      const lock = new Lock(lease);
      const value = await holdDuring(lease, () =>
        noteOutcome(room, lease, labelled, () => room.within(lease, async () => await job(lock))),
      );
      return { ran: true, value, fence: lease.grant.fence };
    }
    const other = await whoElse(room, name);
    // The holder has ended in between, so the job can be run again.
    if (other) return other;
  }
}

/** From now on the lock stays held for at least that long, even if this process dies. */
async function keepOthersOut(
  { clock }: OnceRoom,
  lease: Lease,
  atLeast: number,
  labelled: (state: JobState) => string,
): Promise<void> {
  const until = clock.now() + atLeast;
  try {
    if (atLeast > lease.ttl) await lease.extend(atLeast);
  } catch (error) {
    await lease.release();
    throw error;
  }
  lease.keepUntil(until, labelled("running"));
}

async function noteOutcome<T>(
  { clock }: OnceRoom,
  lease: Lease,
  labelled: (state: JobState) => string,
  run: () => Promise<T>,
): Promise<T> {
  const note = (state: JobState): void => lease.kept && lease.keepUntil(lease.kept.until, labelled(state));
  try {
    const value = await run();
    note("done");
    return value;
  } catch (error) {
    if (error instanceof JobNotStarted) {
      lease.keepUntil(clock.now(), "");
      throw error.cause;
    }
    note("failed");
    throw error;
  }
}

const LABELLED = /^([^]*) \((running|done|failed), started (\S+)\)$/;

/** What the label of a job's lock says; undefined if the lock belongs to no job. */
export function jobIn(
  label: string,
): { readonly by: string; readonly state: JobState; readonly started: Date } | undefined {
  const [, by, state, started] = LABELLED.exec(label) ?? [];
  if (by === undefined || started === undefined) return undefined;
  return { by, state: state as JobState, started: new Date(started) };
}

async function whoElse(room: OnceRoom, name: string): Promise<(OnceResult<never> & { ran: false }) | undefined> {
  const [holder] = (await room.look(name))?.holders ?? [];
  if (!holder) return undefined;
  const { by, state, started } = jobIn(holder.label) ?? { by: holder.label, state: "running", started: undefined };
  return { ran: false, state, by, started, remaining: holder.remaining };
}
