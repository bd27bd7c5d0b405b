import { Session } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { listLocks, table } from "./listing.ts";
import { plain, print } from "./messages.ts";

export interface ListOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export async function ls(pattern: string | undefined, options: ListOptions): Promise<number> {
  await using session = await Session.open(options, {});
  const locks = await listLocks(session.locks, pattern === undefined ? "all" : { match: pattern });
  if (options.json) await print(JSON.stringify(locks, undefined, 2));
  else if (locks.length > 0) await print(table(locks));
  else await print(pattern === undefined ? "Nothing is held." : `Nothing that matches ${plain(pattern)} is held.`);
  return 0;
}
