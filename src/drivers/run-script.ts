import type { Driver, Script, ScriptStrings } from "./driver.ts";
import { messageOf } from "./server-errors.ts";

/**
 * Run a script on a batch of items; a server that does not know it yet is sent its source.
 *
 * @param items the keys and arguments of all items, one after the other
 */
export async function runScript<K extends ScriptStrings, A extends ScriptStrings>(
  driver: Pick<Driver, "send">,
  script: Script<K, A>,
  call: { readonly keys: K["call"]; readonly args: A["call"] },
  items: { readonly keys: readonly string[]; readonly args: readonly string[] },
): Promise<unknown[]> {
  const count = String(call.keys.length + items.keys.length);
  const command = ["EVALSHA", script.sha, count].concat(call.keys, items.keys, call.args, items.args);
  const key = command[3];
  try {
    return (await driver.send(command, key)) as unknown[];
  } catch (error) {
    if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
    return (await driver.send(["EVAL", script.source, ...command.slice(2)], key)) as unknown[];
  }
}
