import { Session } from "./connection.ts";
import { listLocks, tableOf } from "./listing.ts";
import { print, quoted } from "./messages.ts";
import type { ConnectionOptions } from "./options.ts";

export interface ListOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export async function ls(pattern: string | undefined, options: ListOptions): Promise<number> {
  await using session = await Session.open(options, {});
  const locks = await listLocks(session.locks, pattern === undefined ? "all" : { match: pattern });
  if (options.json) await print(JSON.stringify(locks, undefined, 2));
  else if (locks.length > 0) await print(tableOf(locks));
  else await print(pattern === undefined ? "No locks are held." : `No locks match ${quoted(pattern)}.`);
  return 0;
}
