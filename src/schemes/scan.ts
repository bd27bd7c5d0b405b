import type { Send } from "../drivers/driver.ts";
import { quote, SchemeError } from "../errors.ts";
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
  for await (const keys of keysOf(send, prefix)) {
    for (const key of keys) {
      const name = nameOfKey(prefix, key);
      if (name !== undefined && (!wanted || wanted.matches(name))) names.add(name);
    }
  }
}

/**
 * A server's keys under a prefix, step by step.
 *
 * @throws SchemeError if a cursor comes twice. No server's does within one walk, also while its tables grow or shrink; a
 *   walk that went around in circles would never end.
 */
export async function* keysOf(send: Send, prefix: string): AsyncGenerator<string[], void, void> {
  const seen = new Set(["0"]);
  let cursor = "0";
  do {
    const reply = await send(["SCAN", cursor, "MATCH", scanPattern(prefix), "COUNT", "1000"]);
    const [next, keys] = listOf(reply, "SCAN", 2);
    yield listOf(keys, "SCAN").map((key) => String(textOf(key, "SCAN")));
    cursor = String(textOf(next, "SCAN"));
    if (cursor !== "0" && seen.has(cursor)) throw circling(cursor);
    seen.add(cursor);
  } while (cursor !== "0");
}

function circling(cursor: string): SchemeError {
  const message =
    `The server answered SCAN with the cursor ${quote(cursor)} twice, so looking through its keys would never end. ` +
    "Ask for one lock by its name, or check what stands between this client and the server.";
  return new SchemeError("server", message, []);
}
