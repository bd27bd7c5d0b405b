import { checkName } from "../options/request.ts";
import { Session } from "./connection.ts";
import { lookAt, summary, table } from "./listing.ts";
import type { ListOptions } from "./ls.ts";
import { print } from "./messages.ts";

export async function show(name: string, options: ListOptions): Promise<number> {
  checkName(name);
  await using session = await Session.open(options, {});
  const lock = await lookAt(session.locks, name);
  if (options.json) {
    await print(JSON.stringify(lock, undefined, 2));
    return 0;
  }
  await print(summary(lock));
  if (lock.holders.length + lock.waiters.length > 0) await print(`\n${table([lock])}`);
  return 0;
}
