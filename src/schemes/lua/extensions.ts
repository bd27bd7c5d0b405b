import type { Caller } from "../../caller.ts";
import { proofOf, reachedIn } from "../../drivers/proof.ts";
import { ScriptCall } from "../../drivers/run-script.ts";
import type { Wish } from "../../durability.ts";
import { assureExtension } from "../assure.ts";
import { inRuns } from "../batches.ts";
import type { Extension, Grant } from "../scheme.ts";
import { Batch, countDown } from "./calls.ts";
import type { Calls } from "./calls.ts";
import { readExtension } from "./replies.ts";
import * as scripts from "./scripts.generated.ts";

/** An extension to be asked for. */
class Wanted implements Caller<Extension> {
  readonly grant: Grant;
  readonly ttl: number;
  readonly wish: Wish | undefined;
  readonly #caller: Caller<Extension>;

  constructor(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>) {
    this.grant = grant;
    this.ttl = ttl;
    this.wish = wish;
    this.#caller = caller;
  }

  answered(extension: Extension): void {
    this.#caller.answered(extension);
  }

  failed(error: unknown): void {
    this.#caller.failed(error);
  }
}

/** Makes leases last longer. */
export class Extensions {
  readonly #calls: Calls;
  readonly #extend: (wanted: Wanted) => void;
  readonly #extendProven: (wanted: Wanted) => void;

  constructor(calls: Calls) {
    this.#calls = calls;
    this.#extend = calls.batches.lane((all) => inRuns(all, this.#alike, this.#send));
    this.#extendProven = calls.batches.patientLane((all, answered) => {
      const runs: Wanted[][] = [];
      inRuns(all, this.#alike, (run) => runs.push(run));
      const done = countDown(runs.length, answered);
      for (const run of runs) this.#send(run, done);
    });
  }

  extend(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>): void {
    const wanted = new Wanted(grant, ttl, wish, caller);
    if (wish) this.#extendProven(wanted);
    else this.#extend(wanted);
  }

  readonly #alike = (a: Wanted, b: Wanted): boolean => {
    const { homes } = this.#calls;
    return homes.of(a.grant.lock) === homes.of(b.grant.lock) && proofOf(a.wish) === proofOf(b.wish);
  };

  readonly #send = (run: Wanted[], done?: () => void): void => {
    const call = new ScriptCall(scripts.extend, 2 * run.length, 3 * run.length);
    for (const { grant } of run) {
      const [key, holders] = this.#calls.keys.once(grant.lock);
      call.add(key);
      call.add(holders);
    }
    for (const { grant, ttl } of run) {
      call.add(grant.token);
      call.add(String(grant.fence));
      call.add(String(ttl));
    }
    this.#calls.send(call, new Batch(run, read, done), proofOf(run[0]?.wish));
  };
}

function read({ grant, wish }: Wanted, reply: unknown, replies: readonly unknown[]): Extension {
  const extension = readExtension(reply);
  if (wish && extension === "extended") assureExtension(grant.lock, wish, reachedIn(replies, wish));
  return extension;
}
