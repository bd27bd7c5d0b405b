import { report } from "../caller.ts";
import type { Timer } from "../clock.ts";
import { SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import type { Origin } from "../events.ts";
import type { Departing, Departure, Kept } from "../leases/departing.ts";
import type { Farewell, Grant, LockMode, Release } from "../schemes/scheme.ts";
import type { Manner, Over, Room } from "./room.ts";

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

const NO_MANNER: Manner = {};

/**
 * Tells the scheme that requests are over: each token once, and again while the scheme cannot be reached, until nothing
 * can be left there or the manager is closed.
 */
export class Farewells {
  readonly #room: Room;
  /** By token: farewells without an answer, and when each is repeated or forgotten. */
  readonly #unheard = new Map<string, { readonly saying: Saying; readonly timer: Timer }>();

  constructor(room: Room) {
    this.#room = room;
  }

  get origin(): Origin {
    return this.#room.origin;
  }

  say(over: Over, ttl: number, departing?: Departing, manner: Manner = NO_MANNER): void {
    this.#send(new Saying(this, over, ttl, departing, manner));
  }

  /** The scheme has evidently not received it: repeat it now. */
  remind(token: string): void {
    const unheard = this.#unheard.get(token);
    if (!unheard) return;
    unheard.timer.cancel();
    this.#unheard.delete(token);
    this.#send(unheard.saying);
  }

  /** Nothing is repeated any more. */
  close(): void {
    for (const { timer } of this.#unheard.values()) timer.cancel();
    this.#unheard.clear();
  }

  answered(): void {
    this.#room.answered();
  }

  failed(saying: Saying, pause: number, isLasting: boolean): void {
    const { clock, isClosed } = this.#room;
    const left = saying.until(clock.now()) - clock.now();
    if (!isClosed && left > 0) {
      // A farewell that the scheme refuses permanently is repeated only if the scheme reminds us.
      const isForgotten = isLasting || pause >= left;
      const timer = clock.after(isForgotten ? left : pause, () => {
        this.#unheard.delete(saying.token);
        if (!isForgotten) this.#send(saying);
      });
      this.#unheard.set(saying.token, { saying, timer });
    }
    this.#room.answered();
  }

  #send(saying: Saying): void {
    const { scheme, clock } = this.#room;
    const { kept } = saying;
    this.#room.sent();
    const left = kept ? Math.ceil(kept.until - clock.now()) : 0;
    if (kept && left > 0) report(scheme.keep(saying as unknown as Grant, left, kept.label), saying);
    else scheme.release(saying);
  }
}

class Saying implements Farewell {
  readonly isBehind: boolean;
  readonly kept: Kept | undefined;
  readonly #farewells: Farewells;
  readonly #over: Over;
  readonly #ttl: number;
  #until: number | undefined;
  #departing: Departing | undefined;
  #pause = FIRST_PAUSE;

  constructor(farewells: Farewells, over: Over, ttl: number, departing: Departing | undefined, manner: Manner) {
    this.#farewells = farewells;
    this.#over = over;
    this.#ttl = ttl;
    this.#departing = departing;
    this.isBehind = manner.isBehind ?? false;
    this.kept = manner.kept;
  }

  /** When nothing can be left to release: one ttl after its first failure. */
  until(now: number): number {
    return (this.#until ??= now + this.#ttl);
  }

  get lock(): string {
    return this.#over.lock;
  }

  get token(): string {
    return this.#over.token;
  }

  get mode(): LockMode | undefined {
    return this.#over.mode;
  }

  get fence(): number | undefined {
    return this.#over.fence;
  }

  answered(outcome: Release): void {
    this.#tell(outcome);
    this.#farewells.answered();
  }

  failed(error: unknown): void {
    events.trouble("release", error, this, this.#farewells, undefined);
    // A permanent refusal would only be repeated.
    const isLasting = error instanceof SchemeError && !error.transient;
    this.#tell(isLasting ? "unsure" : "unheard");
    this.#farewells.failed(this, this.#pause, isLasting);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  #tell(outcome: Departure): void {
    const departing = this.#departing;
    this.#departing = undefined;
    departing?.departed(outcome);
  }
}
