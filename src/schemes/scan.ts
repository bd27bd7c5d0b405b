import type { Send } from "../drivers/driver.ts";
import { nameOfKey, scanPattern } from "./keys.ts";
import type { Selection } from "./scheme.ts";
import { globToRegExp } from "./memory.ts";

/**
 * The names of the selected locks that somebody holds or waits for. Walks the key space in small steps (SCAN).
 *
 * @param servers all that keep keys; asked only where they have to be walked
 */
export async function findNames(
  servers: () => Promise<readonly Send[]>,
  prefix: string,
  selection: Selection,
): Promise<string[]> {
  if (typeof selection === "object" && "name" in selection) return [selection.name];
  const wanted = selection === "all" ? undefined : globToRegExp(selection.match);
  const names = new Set<string>();
  await Promise.all((await servers()).map((send) => walk(send, prefix, wanted, names)));
  return [...names].sort();
}

async function walk(send: Send, prefix: string, wanted: RegExp | undefined, names: Set<string>): Promise<void> {
  let cursor = "0";
  do {
    const reply = await send(["SCAN", cursor, "MATCH", scanPattern(prefix), "COUNT", "1000"]);
    const [next, keys] = reply as [unknown, string[]];
    cursor = String(next);
    for (const key of keys) {
      const name = nameOfKey(prefix, String(key));
      if (name !== undefined && (!wanted || wanted.test(name))) names.add(name);
    }
  } while (cursor !== "0");
}
