import { CliError } from "./cli-error.ts";
import { Session } from "./connection.ts";
import { ExitCode } from "./exit-codes.ts";
import { lookAt, summary, tableOf } from "./listing.ts";
import type { ListedLock } from "./listing.ts";
import { print, quoted } from "./messages.ts";
import type { ConnectionOptions } from "./options.ts";

export interface ReleaseOptions extends ConnectionOptions {
  readonly force?: boolean;
}

/** Frees the lock from exactly the holders that were shown, so that a race cannot take it from the next one. */
export async function release(name: string, options: ReleaseOptions): Promise<number> {
  await using session = await Session.open(options, {});
  const lock = await lookAt(session.locks, name);
  await print(lock.holders.length === 0 ? summary(lock) : tableOf([lock]));
  if (!options.force) throw new CliError(ExitCode.usage, WITHOUT_FORCE);
  if (lock.holders.length === 0) return 0;
  await print(`\n${await freeFrom(session, lock)}`);
  return 0;
}

/** Takes the lock from the holders that were seen. Says what became of it. */
export async function freeFrom(session: Session, lock: ListedLock): Promise<string> {
  const seen = lock.holders.map(({ token }) => token ?? undefined);
  const freed = await session.locks.forceRelease(lock.name, seen);
  if (freed.length === 0) return "Nothing was freed: the holder released the lock in the meantime.";
  const count = freed.length === 1 ? "1 holder" : `${freed.length} holders`;
  return `Freed ${quoted(lock.name)} from ${count}. ${whatHoldersLearn(lock, session.tellsHolders)}`;
}

/** @param tellsHolders whether the scheme in use notifies holders; those of another scheme are not listening */
function whatHoldersLearn({ holders, waiters }: ListedLock, tellsHolders: boolean): string {
  const next = waiters.length > 0 ? " The next in the queue gets the lock." : "";
  if (holders.some(({ token }) => token === null)) {
    return `Another library holds it; that holder is not notified, and may still be working.${next}`;
  }
  if (tellsHolders && holders.every(({ fence }) => fence !== null)) {
    return `${holders.length === 1 ? "The holder has" : "The holders have"} been notified.${next}`;
  }
  return `The holder finds out when it next renews its lease, within a third of its ttl, and works on until then.${next}`;
}

const WITHOUT_FORCE =
  "release takes the lock from a holder that may still be working, and lets the next one in. " +
  "Stop the holder instead if you can. To release the lock anyway, add --force.";
