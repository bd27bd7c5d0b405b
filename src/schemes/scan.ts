import type { Send } from "../drivers/driver.ts";
import { Glob } from "./glob.ts";
import { nameOfKey, scanPattern } from "./keys.ts";
import type { Selection } from "./scheme.ts";
import { listOf, textOf } from "./set/replies.ts";

/**
 * The names of the selected locks that somebody holds or waits for, sorted. Walks the key space in steps of about 1,000
 * keys (SCAN), so no step takes a server long; only names are kept.
 *
 * @param servers all that keep keys; not asked for a lock that is selected by name
 */
export async function findNames(
  servers: () => Promise<readonly Send[]>,
  prefix: string,
  selection: Selection,
): Promise<string[]> {
  if (typeof selection === "object" && "name" in selection) return [selection.name];
  const wanted = selection === "all" ? undefined : new Glob(selection.match);
  const names = new Set<string>();
  await Promise.all((await servers()).map((send) => walk(send, prefix, wanted, names)));
  return [...names].sort();
}

async function walk(send: Send, prefix: string, wanted: Glob | undefined, names: Set<string>): Promise<void> {
  let cursor = "0";
  do {
    const reply = await send(["SCAN", cursor, "MATCH", scanPattern(prefix), "COUNT", "1000"]);
    const [next, keys] = listOf(reply, "SCAN", 2);
    cursor = String(textOf(next, "SCAN"));
    for (const key of listOf(keys, "SCAN")) {
      const name = nameOfKey(prefix, String(textOf(key, "SCAN")));
      if (name !== undefined && (!wanted || wanted.matches(name))) names.add(name);
    }
  } while (cursor !== "0");
}
