import { valueKey } from "../keys.ts";
import { KEEP_VALUE } from "../scheme.ts";
import type { Grant, LeftValue, Leaving, Recalled } from "../scheme.ts";
import type { Calls } from "./calls.ts";
import { checkReply, readList, readNumber, readText } from "../../drivers/replies.ts";
import * as scripts from "./scripts.generated.ts";

const NOTHING: { keys: []; args: [] } = { keys: [], args: [] };

/** What holders leave for those who wait, each beside its lock. */
export class Values {
  readonly #calls: Calls;
  readonly #prefix: string;

  constructor(calls: Calls, prefix: string) {
    this.#calls = calls;
    this.#prefix = prefix;
  }

  async recall(lock: string): Promise<Recalled | undefined> {
    const key = valueKey(this.#prefix, lock);
    const [reply] = await this.#calls.run(scripts.recall, NOTHING, { keys: [key], args: [] });
    const [found, left] = readList(checkReply(reply));
    const [, fence, kind, text = ""] = /^(\d+) ([ve])([^]*)$/.exec(readText(found)) ?? [];
    if (fence === undefined) return undefined;
    const isFailure = kind === "e";
    return { fence: Number(fence), isFailure, text, isFresh: !isFailure && readNumber(left) > KEEP_VALUE };
  }

  async share(grant: Grant, { fence, isFailure, text }: LeftValue, ttl: number): Promise<Leaving> {
    const [key] = this.#calls.keys.of(grant.lock);
    const keys = [key, valueKey(this.#prefix, grant.lock)];
    const holder = `${grant.token}#${grant.fence}`;
    const args = [holder, String(fence), String(ttl + KEEP_VALUE), `${isFailure ? "e" : "v"}${text}`];
    const [reply] = await this.#calls.run(scripts.share, NOTHING, { keys, args });
    const outcome = readNumber(checkReply(reply));
    return outcome === 1 ? "left" : outcome === 0 ? "gone" : "late";
  }
}
