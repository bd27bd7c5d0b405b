import type { Caller } from "../../caller.ts";
import type { Clock } from "../../clock.ts";
import type { Driver, Script, ScriptStrings } from "../../drivers/driver.ts";
import { proving } from "../../drivers/proof.ts";
import type { Proof } from "../../drivers/proof.ts";
import { runScript, sendCall } from "../../drivers/run-script.ts";
import type { ScriptCall } from "../../drivers/run-script.ts";
import { TimeLimit } from "../../drivers/time-limit.ts";
import { Batches } from "../batches.ts";
import { Homes, Keys, lockKeys } from "../keys.ts";
import type { LockKeys } from "../keys.ts";
import { checkReply } from "../../drivers/replies.ts";

/** How many locks are remembered as wanted by others. */
const MOST_HINTS = 10_000;

/** What a call that may grant is given once: the fence counter, and how to push. */
export interface Granting {
  readonly keys: [counter: string];
  readonly args: [publish: string, channel: string];
}

/** How the scripts of one manager are sent: with which keys, together with what, and for how long at most. */
export class Calls {
  readonly driver: Driver;
  readonly keys: Keys<LockKeys>;
  readonly homes: Homes;
  readonly limit: TimeLimit;
  readonly batches: Batches;
  /** How a Cluster publishes: to those who listen on the server that keeps the channel's slot. */
  readonly #publish: "PUBLISH" | "SPUBLISH";
  /** Locks that others wanted when we last looked: a quick attempt at them would fail. Only a hint. */
  readonly #wanted = new Set<string>();

  constructor(driver: Driver, clock: Clock, prefix: string) {
    this.driver = driver;
    this.keys = new Keys(prefix, lockKeys);
    this.homes = new Homes(prefix, driver.isCluster);
    this.limit = new TimeLimit(clock, driver);
    this.batches = new Batches((run) => driver.together(run));
    this.#publish = driver.isCluster ? "SPUBLISH" : "PUBLISH";
  }

  isWanted(lock: string): boolean {
    return this.#wanted.size > 0 && this.#wanted.has(lock);
  }

  noteWanted(lock: string, isWanted: boolean): void {
    if (!isWanted) {
      if (this.#wanted.size > 0) this.#wanted.delete(lock);
      return;
    }
    if (this.#wanted.size >= MOST_HINTS) this.#wanted.clear();
    this.#wanted.add(lock);
  }

  granting(lock: string): Granting {
    const { counter, channel } = this.homes.of(lock);
    return { keys: [counter], args: [this.#publish, channel] };
  }

  /** Of a batch, behind all that has been gathered. */
  send(call: ScriptCall, caller: Caller<unknown>, proof?: Proof): void {
    this.batches.flush();
    sendCall(this.#runner(proof), call, this.limit.bound(caller));
  }

  /** Behind all that has been gathered. */
  run<K extends ScriptStrings, A extends ScriptStrings>(
    script: Script<K, A>,
    call: { readonly keys: K["call"]; readonly args: A["call"] },
    items: { readonly keys: readonly string[]; readonly args: readonly string[] },
    proof?: Proof,
  ): Promise<unknown[]> {
    this.batches.flush();
    return this.limit.guard(runScript(this.#runner(proof), script, call, items));
  }

  #runner(proof: Proof | undefined): Pick<Driver, "send" | "scripts" | "ownerOf"> {
    return proof ? proving(this.driver, proof) : this.driver;
  }
}

/** The items of one call. Each gets its own reply, or the failure of the whole call. */
export class Batch<T extends Caller<A>, A> implements Caller<unknown> {
  readonly #items: readonly T[];
  readonly #read: (item: T, reply: unknown, replies: readonly unknown[]) => A | undefined;
  readonly #done: (() => void) | undefined;

  /**
   * @param read what the reply says; undefined if the item is asked again in another way. What it throws is a failure.
   * @param done called when all have heard
   */
  constructor(
    items: readonly T[],
    read: (item: T, reply: unknown, replies: readonly unknown[]) => A | undefined,
    done?: () => void,
  ) {
    this.#items = items;
    this.#read = read;
    this.#done = done;
  }

  answered(answer: unknown): void {
    const replies = Array.isArray(answer) ? (answer as unknown[]) : [answer];
    for (let i = 0; i < this.#items.length; i++) this.#tell(this.#items[i] as T, replies[i], replies);
    this.#done?.();
  }

  failed(error: unknown): void {
    for (const item of this.#items) item.failed(error);
    this.#done?.();
  }

  #tell(item: T, reply: unknown, replies: readonly unknown[]): void {
    let answer;
    try {
      answer = this.#read(item, checkReply(reply), replies);
    } catch (error) {
      return item.failed(error);
    }
    if (answer !== undefined) item.answered(answer);
  }
}

/** Calls `done` when it has been called that many times. */
export function countDown(times: number, done: () => void): () => void {
  let left = times;
  return () => {
    if (--left === 0) done();
  };
}
