/** Who holds and who waits, lock by lock: as JSON for programs, as a table for people. */
import Table from "cli-table3";
import type { LockManager } from "../lock-manager.ts";
import type { LockManagerSnapshot } from "../snapshot.ts";
import type { LockMode, Selection } from "../schemes/scheme.ts";
import { formatDuration } from "./durations.ts";
import { plain } from "./messages.ts";

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

export const LISTING_HELP = `
Waiters of the scheme "set" stand in no queue, and are not seen.

JSON (per lock; unknown is null, times are milliseconds, waiters are in order):
  {"name", "mode": "exclusive" | "shared" | null if nobody holds it,
   "limit": a semaphore's permits | null for a lock,
   "holders": [{"label", "token", "fence", "remaining", "permits"}],
   "waiters": [{"label", "token", "mode", "permits"}]}`;

/** The locks that somebody holds or waits for, by name. */
export async function listLocks(locks: LockManager, selection: Selection): Promise<ListedLock[]> {
  const { held, pending } = await locks.query(selection);
  const names = [...new Set([...held, ...pending].map(({ name }) => name))].toSorted();
  return names.map((name) => describe(name, held, pending));
}

export async function lookAt(locks: LockManager, name: string): Promise<ListedLock> {
  const { held, pending } = await locks.query({ name });
  return describe(name, held, pending);
}

function describe(
  lock: string,
  held: LockManagerSnapshot["held"],
  pending: LockManagerSnapshot["pending"],
): ListedLock {
  const holders = held.filter(({ name }) => name === lock);
  const waiters = pending.filter(({ name }) => name === lock);
  return {
    name: lock,
    mode: holders[0]?.mode ?? null,
    limit: [...holders, ...waiters][0]?.limit ?? null,
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
  const queue = waiters.length === 0 ? "nobody waits" : waiters.length === 1 ? "1 waits" : `${waiters.length} wait`;
  if (!mode) return `${plain(name)} is free; ${queue}.`;
  if (limit !== null) {
    const used = holders.reduce((sum, { permits }) => sum + (permits ?? 0), 0);
    return `${plain(name)} is a semaphore, ${used} of ${limit} permits held by ${whoHolds(holders)}; ${queue}.`;
  }
  const by = mode === "shared" ? `shared by ${holders.length}` : `held by ${whoHolds(holders)}`;
  return `${plain(name)} is ${by}; ${queue}.`;
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

/** A row for each holder and waiter. */
export function table(locks: readonly ListedLock[]): string {
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
  const grid = new Table({
    head: ["NAME", "MODE", "WHO", "STATE", "FENCE"],
    chars: BORDERLESS,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  grid.push(...rows);
  return grid
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

const EDGES = ["top", "bottom", "left", "right"].flatMap((edge) => [
  edge,
  `${edge}-mid`,
  `${edge}-left`,
  `${edge}-right`,
]);
const BORDERLESS = { ...Object.fromEntries([...EDGES, "mid", "mid-mid"].map((part) => [part, ""])), middle: "  " };

function timeLeft({ remaining }: ListedHolder): string {
  return remaining === null ? "holds" : `${formatDuration(remaining)} left`;
}
