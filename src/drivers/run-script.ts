import { report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import type { Driver, Script, ScriptStrings } from "./driver.ts";
import { readList } from "./replies.ts";
import { messageOf } from "./server-errors.ts";

/** The parts of a driver that running scripts needs. */
export type ScriptRunner = Pick<Driver, "send" | "scripts" | "ownerOf">;

type AnyScript = Pick<Script<ScriptStrings, ScriptStrings>, "name" | "sha" | "source">;

/** Where the keys stand in a command: behind EVALSHA, the SHA, and how many keys there are. */
const FIRST_KEY = 3;

/** A script call under construction: its keys and then its arguments are added one by one. */
export class ScriptCall {
  readonly script: AnyScript;
  readonly words: string[] = [];
  readonly #keys: number;
  #size = FIRST_KEY;

  /** @param keys how many there will be @param args and how many arguments */
  constructor(script: AnyScript, keys: number, args: number) {
    this.script = script;
    this.#keys = keys;
    // Allocated at its full length, so that it never has to grow.
    this.words.length = FIRST_KEY + keys + args;
    this.words[0] = "EVALSHA";
    this.words[1] = script.sha;
    this.words[2] = String(keys);
  }

  add(word: string): void {
    this.words[this.#size++] = word;
  }

  addAll(words: readonly string[]): void {
    for (const word of words) this.add(word);
  }

  /** A key, to find the server by. */
  get key(): string | undefined {
    return this.#keys === 0 ? undefined : this.words[FIRST_KEY];
  }

  withSource(): string[] {
    return ["EVAL", this.script.source, ...this.words.slice(2)];
  }
}

/**
 * Runs a script, and reports its answer. The first call on a server carries the source, and all later ones name it by
 * its SHA, even those that are sent before the first was answered, because they arrive after it. A server that forgot
 * the script gets the source again.
 */
export function sendCall(driver: ScriptRunner, call: ScriptCall, caller: Caller<unknown>): void {
  const { key, script } = call;
  const server = key === undefined ? "" : driver.ownerOf(key);
  const known = driver.scripts.get(server);
  if (!known?.has(script.sha)) {
    if (known) known.add(script.sha);
    else driver.scripts.set(server, new Set([script.sha]));
    return report(sent(driver, call.withSource(), key), caller);
  }
  sent(driver, call.words, key).then(
    (answer) => caller.answered(answer),
    (error: unknown) => {
      if (messageOf(error).startsWith("NOSCRIPT")) report(sent(driver, call.withSource(), key), caller);
      else caller.failed(error);
    },
  );
}

/**
 * Run a script on a batch of items.
 *
 * @param items the keys and arguments of all items, one after the other
 * @throws SchemeError if it answers with anything but a list
 */
export function runScript<K extends ScriptStrings, A extends ScriptStrings>(
  driver: ScriptRunner,
  script: Script<K, A>,
  { keys, args }: { readonly keys: K["call"]; readonly args: A["call"] },
  items: { readonly keys: readonly string[]; readonly args: readonly string[] },
): Promise<unknown[]> {
  const call = new ScriptCall(script, keys.length + items.keys.length, args.length + items.args.length);
  for (const words of [keys, items.keys, args, items.args]) call.addAll(words);
  return new Promise<unknown>((resolve, failed) => {
    sendCall(driver, call, { answered: resolve, failed });
  }).then(readList);
}

/** A client that throws counts like one that rejects. */
function sent(driver: ScriptRunner, command: readonly string[], key: string | undefined): Promise<unknown> {
  try {
    return driver.send(command, key);
  } catch (error) {
    return Promise.reject(error);
  }
}
