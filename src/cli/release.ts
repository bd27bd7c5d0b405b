import { checkName } from "../options/request.ts";
import { Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { ExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";
import { lookAt, summary, table } from "./listing.ts";
import { plain, print } from "./messages.ts";

export interface ReleaseOptions extends ConnectionOptions {
  readonly force?: boolean;
}

/** Frees the lock from exactly those that were shown, so that whoever follows them is not robbed by a race. */
export async function release(name: string, options: ReleaseOptions): Promise<number> {
  checkName(name);
  await using session = await Session.open(options, {});
  const lock = await lookAt(session.locks, name);
  if (lock.holders.length === 0) await print(summary(lock));
  else await print(table([lock]));
  if (!options.force) throw new CliError(ExitCode.usage, WITHOUT_FORCE);
  if (lock.holders.length === 0) return 0;
  const shown = lock.holders.map(({ token }) => token ?? undefined);
  const freed = await session.locks.forceRelease(name, shown);
  const whom = freed.length === 1 ? "its holder has" : `${freed.length} holders have`;
  await print(
    freed.length === 0
      ? `\nNothing was freed: it was released in the meantime.`
      : `\nFreed ${plain(name)}: ${whom} lost it${lock.waiters.length > 0 ? ", and the next in line follows" : ""}.`,
  );
  return 0;
}

const WITHOUT_FORCE =
  "release takes the lock from a holder that may still be working, and lets the next one in. " +
  "Stop the holder instead if you can. To do it nevertheless, add --force.";
