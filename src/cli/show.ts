import { Session } from "./connection.ts";
import { lookAt, summary, tableOf } from "./listing.ts";
import type { ListOptions } from "./ls.ts";
import { print } from "./messages.ts";

export async function show(name: string, options: ListOptions): Promise<number> {
  await using session = await Session.open(options, {});
  const lock = await lookAt(session.locks, name);
  if (options.json) {
    await print(JSON.stringify(lock, undefined, 2));
    return 0;
  }
  await print(summary(lock));
  if (lock.holders.length + lock.waiters.length > 0) await print(`\n${tableOf([lock])}`);
  return 0;
}
