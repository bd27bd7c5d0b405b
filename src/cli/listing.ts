/** Who holds and who waits, for each lock: as JSON for programs, as a table for people. */
import type { LockManager } from "../lock-manager.ts";
import type { LockInfo } from "../snapshot.ts";
import type { LockMode, Selection } from "../schemes/scheme.ts";
import { roundDuration } from "./durations.ts";
import { plain, quoted } from "./messages.ts";
import { table } from "./table.ts";

/** The JSON of `ls` and `show`. Members are only ever added; what is not known is null. */
export interface ListedLock {
  readonly name: string;
  /** Null while nobody holds it. */
  readonly mode: LockMode | null;
  /** Of a semaphore: how many permits there are. Null for a lock. */
  readonly limit: number | null;
  readonly holders: readonly ListedHolder[];
  /** In the order of the queue. */
  readonly waiters: readonly ListedWaiter[];
}

export interface ListedHolder {
  /** host:pid:program, unless another was given. */
  readonly label: string | null;
  /** Null where the key is another library's. */
  readonly token: string | null;
  readonly fence: number | null;
  /** Milliseconds until the lease ends unless renewed; null where it never does. */
  readonly remaining: number | null;
  /** Of a semaphore: how many it holds. */
  readonly permits: number | null;
}

export interface ListedWaiter {
  readonly label: string | null;
  readonly token: string;
  readonly mode: LockMode;
  /** Of a semaphore: how many it wants. */
  readonly permits: number | null;
}

/** The locks that somebody holds or waits for, by name. */
export async function listLocks(locks: LockManager, selection: Selection): Promise<ListedLock[]> {
  const { held, pending } = await locks.query(selection);
  const [holders, waiters] = [byName(held), byName(pending)];
  const names = [...new Set([...holders.keys(), ...waiters.keys()])].toSorted();
  return names.map((name) => describe(name, holders.get(name) ?? [], waiters.get(name) ?? []));
}

export async function lookAt(locks: LockManager, name: string): Promise<ListedLock> {
  const { held, pending } = await locks.query({ name });
  return describe(name, held, pending);
}

function byName(infos: readonly LockInfo[]): Map<string, LockInfo[]> {
  const found = new Map<string, LockInfo[]>();
  for (const info of infos) {
    const others = found.get(info.name);
    if (others) others.push(info);
    else found.set(info.name, [info]);
  }
  return found;
}

function describe(name: string, holders: readonly LockInfo[], waiters: readonly LockInfo[]): ListedLock {
  return {
    name,
    mode: holders[0]?.mode ?? null,
    limit: (holders[0] ?? waiters[0])?.limit ?? null,
    holders: holders.map(({ label, token, fence, remaining, permits }) => ({
      label: label || null,
      token: token ?? null,
      fence: fence ?? null,
      remaining: remaining ?? null,
      permits: permits ?? null,
    })),
    waiters: waiters.map(({ label, token = "", mode, permits }) => ({
      label: label || null,
      token,
      mode,
      permits: permits ?? null,
    })),
  };
}

/** One sentence. */
export function summary({ name, mode, limit, holders, waiters }: ListedLock): string {
  const queue = waiters.length === 0 ? "nobody is waiting" : `${waiters.length} waiting`;
  if (!mode) return `${quoted(name)} is free; ${queue}.`;
  if (limit !== null) {
    const used = holders.reduce((sum, { permits }) => sum + (permits ?? 0), 0);
    return `${quoted(name)} is a semaphore, ${used} of ${limit} permits held by ${whoHolds(holders)}; ${queue}.`;
  }
  return `${quoted(name)} is ${mode === "shared" ? "shared" : "held"} by ${whoHolds(holders)}; ${queue}.`;
}

/** The holders in a few words. */
export function whoHolds(holders: readonly ListedHolder[]): string {
  const [first] = holders;
  if (!first) return "nobody";
  return holders.length === 1 ? nameOf(first) : `${nameOf(first)} and ${holders.length - 1} more`;
}

function nameOf({ label, token }: ListedHolder | ListedWaiter): string {
  if (label !== null) return plain(label);
  return token === null ? "(foreign key)" : "(unknown)";
}

function kindOf(mode: LockMode | null, { permits }: ListedHolder | ListedWaiter, limit: number | null): string {
  return permits === null ? (mode ?? "") : `${permits} of ${limit}`;
}

const HEAD = ["NAME", "MODE", "WHO", "STATE", "FENCE"];
/** NAME and WHO are of any length. */
const FLEXIBLE = [0, 2];

/** A row for each holder and waiter. */
export function tableOf(locks: readonly ListedLock[]): string {
  const rows = locks.flatMap(({ name, mode, limit, holders, waiters }) => [
    ...holders.map((holder) => [
      plain(name),
      kindOf(mode, holder, limit),
      nameOf(holder),
      timeLeft(holder),
      String(holder.fence ?? ""),
    ]),
    ...waiters.map((waiter, i) => [
      plain(name),
      kindOf(waiter.mode, waiter, limit),
      nameOf(waiter),
      `waits, #${i + 1}`,
      "",
    ]),
  ]);
  return table([HEAD, ...rows], FLEXIBLE);
}

function timeLeft({ remaining }: ListedHolder): string {
  return remaining === null ? "no expiry" : `${roundDuration(remaining)} left`;
}
