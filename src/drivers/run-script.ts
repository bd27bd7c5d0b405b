import type { Driver, Script, ScriptStrings } from "./driver.ts";
import { messageOf } from "./server-errors.ts";

/** What is needed of a driver to run scripts. */
export type ScriptRunner = Pick<Driver, "send" | "scripts" | "ownerOf">;

/**
 * Run a script on a batch of items. The first call on a server carries the source, and all later ones name it by its
 * SHA, also those that are sent before the first was answered: they arrive behind it. A server that has forgotten the
 * script is sent the source again.
 *
 * @param items the keys and arguments of all items, one after the other
 */
export async function runScript<K extends ScriptStrings, A extends ScriptStrings>(
  driver: ScriptRunner,
  script: Script<K, A>,
  call: { readonly keys: K["call"]; readonly args: A["call"] },
  items: { readonly keys: readonly string[]; readonly args: readonly string[] },
): Promise<unknown[]> {
  const count = String(call.keys.length + items.keys.length);
  const rest = [count].concat(call.keys, items.keys, call.args, items.args);
  const key = rest[1];
  const whole = (): Promise<unknown> => driver.send(["EVAL", script.source, ...rest], key);
  const name = `${key === undefined ? "" : driver.ownerOf(key)} ${script.sha}`;
  if (!driver.scripts.has(name)) {
    driver.scripts.add(name);
    return (await whole()) as unknown[];
  }
  try {
    return (await driver.send(["EVALSHA", script.sha, ...rest], key)) as unknown[];
  } catch (error) {
    if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
    return (await whole()) as unknown[];
  }
}
