import type { Caller } from "../../caller.ts";
import { ScriptCall } from "../../drivers/run-script.ts";
import { inRuns } from "../batches.ts";
import type { Farewell, Release } from "../scheme.ts";
import { Batch } from "./calls.ts";
import type { Calls } from "./calls.ts";
import { readNumber } from "../../drivers/replies.ts";
import { readReleased } from "./replies.ts";
import * as scripts from "./scripts.generated.ts";

/** A release that fits all cases. */
class Leaving implements Caller<Release> {
  readonly lock: string;
  readonly token: string;
  /** How often connections had been lost when it was first said. */
  readonly drops: number;
  readonly #caller: Caller<Release> | undefined;

  constructor({ lock, token }: Pick<Farewell, "lock" | "token">, drops: number, caller?: Caller<Release>) {
    this.lock = lock;
    this.token = token;
    this.drops = drops;
    this.#caller = caller;
  }

  answered(release: Release): void {
    this.#caller?.answered(release);
  }

  failed(error: unknown): void {
    this.#caller?.failed(error);
  }
}

/** Releases and withdraws: by the short script if the lock is exclusive and nobody waits. */
export class Releases {
  readonly #calls: Calls;
  readonly #give: (farewell: Farewell) => void;
  readonly #release: (leaving: Leaving) => void;

  constructor(calls: Calls) {
    this.#calls = calls;
    const alike = (a: { readonly lock: string }, b: { readonly lock: string }): boolean =>
      calls.homes.of(a.lock) === calls.homes.of(b.lock);
    this.#give = calls.batches.lane((all) => inRuns(all, alike, this.#sendGiven));
    this.#release = calls.batches.lane((all) => inRuns(all, alike, this.#sendReleases));
  }

  release(farewell: Farewell): void {
    const { lock, mode, fence } = farewell;
    if (mode === "exclusive" && fence !== undefined && !this.#calls.isWanted(lock)) this.#give(farewell);
    else this.#release(new Leaving(farewell, this.#calls.driver.drops, farewell));
  }

  /** The common case: exclusive locks that nobody waits for. */
  readonly #sendGiven = (run: Farewell[]): void => {
    const call = new ScriptCall(scripts.give, 2 * run.length, run.length);
    for (const { lock } of run) {
      const [key, , queue] = this.#calls.keys.of(lock);
      call.add(key);
      call.add(queue);
    }
    for (const { token, fence } of run) call.add(`${token}#${fence}`);
    const { drops } = this.#calls.driver;
    const read = (farewell: Farewell, reply: unknown): Release | undefined => {
      if (readNumber(reply) === 1) return "released";
      this.#release(new Leaving(farewell, drops, farewell));
      return undefined;
    };
    this.#calls.send(call, new Batch(run, read));
  };

  readonly #sendReleases = (run: Leaving[]): void => {
    const granting = this.#calls.granting((run[0] as Leaving).lock);
    const call = new ScriptCall(scripts.release, 1 + 4 * run.length, granting.args.length + run.length);
    call.addAll(granting.keys);
    for (const { lock } of run) call.addAll(this.#calls.keys.of(lock));
    call.addAll(granting.args);
    for (const { token } of run) call.add(token);
    this.#calls.send(call, new Batch(run, this.#released));
  };

  readonly #released = (leaving: Leaving, reply: unknown): Release => {
    const { wasHeld, isWanted, isUnfinished } = readReleased(reply);
    this.#calls.noteWanted(leaving.lock, isWanted);
    // A waiter behind very many dead ones must not have to wait for its next poke. Nobody needs the answer.
    if (isUnfinished) this.#release(new Leaving(leaving, leaving.drops));
    if (wasHeld) return "released";
    return leaving.drops === this.#calls.driver.drops ? "gone" : "unsure";
  };
}
