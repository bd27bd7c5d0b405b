import type { Caller } from "../../caller.ts";
import { proofOf, reachedIn } from "../../drivers/proof.ts";
import { ScriptCall } from "../../drivers/run-script.ts";
import type { Wish } from "../../durability.ts";
import { assureExtension } from "../assure.ts";
import { inRuns } from "../batches.ts";
import type { Extension, Grant } from "../scheme.ts";
import { Batch, countDown } from "./calls.ts";
import type { Calls } from "./calls.ts";
import { readNumber } from "../../drivers/replies.ts";
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

/** Makes leases last longer: by the short script if the lock is exclusive. */
export class Extensions {
  readonly #calls: Calls;
  readonly #renew: (wanted: Wanted) => void;
  readonly #extend: (wanted: Wanted) => void;
  readonly #extendProven: (wanted: Wanted) => void;

  constructor(calls: Calls) {
    this.#calls = calls;
    this.#renew = calls.batches.lane((all) => inRuns(all, this.#alikeExclusive, this.#sendRenewals));
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
    else if (grant.mode === "exclusive") this.#renew(wanted);
    else this.#extend(wanted);
  }

  readonly #alikeExclusive = (a: Wanted, b: Wanted): boolean => a.ttl === b.ttl && this.#alike(a, b);

  /** The common case: exclusive locks that are still held. */
  readonly #sendRenewals = (run: Wanted[]): void => {
    const call = new ScriptCall(scripts.renew, run.length, 1 + run.length);
    for (const { grant } of run) call.add(this.#calls.keys.once(grant.lock)[0]);
    call.add(String(run[0]?.ttl));
    for (const { grant } of run) call.add(`${grant.token}#${grant.fence}`);
    this.#calls.send(call, new Batch(run, this.#renewed));
  };

  readonly #renewed = (wanted: Wanted, reply: unknown): Extension | undefined => {
    if (readNumber(reply) === 1) return "extended";
    this.#extend(wanted);
    return undefined;
  };

  readonly #alike = (a: Wanted, b: Wanted): boolean => {
    const { homes } = this.#calls;
    return homes.of(a.grant.lock) === homes.of(b.grant.lock) && proofOf(a.wish) === proofOf(b.wish);
  };

  readonly #send = (run: Wanted[], done?: () => void): void => {
    const call = new ScriptCall(scripts.extend, 2 * run.length, 3 * run.length);
    for (const { grant } of run) call.addAll(this.#calls.keys.of(grant.lock).slice(0, 2));
    for (const { grant, ttl } of run) call.addAll([grant.token, String(grant.fence), String(ttl)]);
    this.#calls.send(call, new Batch(run, read, done), proofOf(run[0]?.wish));
  };
}

function read({ grant, wish }: Wanted, reply: unknown, replies: readonly unknown[]): Extension {
  const extension = readExtension(reply);
  if (wish && extension === "extended") assureExtension(grant.lock, wish, reachedIn(replies, wish));
  return extension;
}
