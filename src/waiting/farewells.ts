import type { Timer } from "../clock.ts";
import { SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import type { Kept } from "../leases/lease.ts";
import { report } from "../schemes/scheme.ts";
import type { Farewell, Grant, LockMode, Release } from "../schemes/scheme.ts";
import type { Room } from "./room.ts";

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

/** A request that is over, as much as is known of it. */
export interface Over {
  readonly lock: string;
  readonly token: string;
  readonly mode?: LockMode;
  readonly fence?: number;
}

/** How the scheme took it: "unheard" if it did not answer. */
export type Heard = Release | "unheard";

/** What a farewell is said with. */
export interface Manner {
  /** A question about the same lock has not left yet, and must not be overtaken. */
  readonly isBehind?: boolean;
  /** The lock stays held until then, under that label. */
  readonly kept?: Kept | undefined;
}

/**
 * Tells the scheme that requests are over: each token once, and again while the scheme cannot be reached, until nothing
 * can be left there or the manager is closed.
 */
export class Farewells {
  readonly #room: Room;
  /** By token: what the scheme has not heard, and when that is said again or forgotten. */
  readonly #unheard = new Map<string, { readonly saying: Saying; readonly timer: Timer }>();

  constructor(room: Room) {
    this.#room = room;
  }

  /**
   * @param ttl what is not heard is gone after that many milliseconds
   * @param told called with the first outcome
   */
  say(over: Over, ttl: number, told?: (outcome: Heard) => void, manner: Manner = NO_MANNER): void {
    this.#send(new Saying(over, this.#room.clock.now() + ttl, manner, told, this));
  }

  /** The scheme shows that it has not heard of that: say it again now. */
  remind(token: string): void {
    const unheard = this.#unheard.get(token);
    if (!unheard) return;
    unheard.timer.cancel();
    this.#unheard.delete(token);
    this.#send(unheard.saying);
  }

  /** Nothing is said again. */
  close(): void {
    for (const { timer } of this.#unheard.values()) timer.cancel();
    this.#unheard.clear();
  }

  answered(): void {
    this.#room.answered();
  }

  failed(saying: Saying, pause: number, isLasting: boolean): void {
    const { clock, isClosed } = this.#room;
    const left = saying.until - clock.now();
    if (!isClosed && left > 0) {
      // What the scheme refuses for good is said again only if it reminds us.
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
    const left = kept ? Math.ceil(kept.until - clock.now()) : 0;
    this.#room.sent();
    if (kept && left > 0) report(scheme.keep(saying as unknown as Grant, left, kept.label), saying);
    else scheme.release(saying);
  }
}

const NO_MANNER: Manner = {};

class Saying implements Farewell {
  readonly lock: string;
  readonly token: string;
  readonly mode: LockMode | undefined;
  readonly fence: number | undefined;
  readonly isBehind: boolean;
  readonly kept: Kept | undefined;
  /** By then nothing is left to be released. */
  readonly until: number;
  readonly #farewells: Farewells;
  #told: ((outcome: Heard) => void) | undefined;
  #pause = FIRST_PAUSE;

  constructor(
    { lock, token, mode, fence }: Over,
    until: number,
    { isBehind = false, kept }: Manner,
    told: ((outcome: Heard) => void) | undefined,
    farewells: Farewells,
  ) {
    this.lock = lock;
    this.token = token;
    this.mode = mode;
    this.fence = fence;
    this.isBehind = isBehind;
    this.kept = kept;
    this.until = until;
    this.#farewells = farewells;
    this.#told = told;
  }

  answered(outcome: Release): void {
    this.#tell(outcome);
    this.#farewells.answered();
  }

  failed(error: unknown): void {
    events.trouble({ lock: this.lock, token: this.token, doing: "release", error }, undefined);
    // What the server refuses for good it will refuse again.
    const isLasting = error instanceof SchemeError && !error.transient;
    this.#tell(isLasting ? "unsure" : "unheard");
    this.#farewells.failed(this, this.#pause, isLasting);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  #tell(outcome: Heard): void {
    const told = this.#told;
    this.#told = undefined;
    told?.(outcome);
  }
}
