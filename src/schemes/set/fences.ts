/**
 * How the scheme `set` draws fences: max(last + 1, the server's clock in microseconds), in the same MULTI that takes
 * the lock, without a script.
 *
 * BITFIELD with OVERFLOW SAT is the maximum: 64 bits, from which the floor is taken and to which it is added again, are
 * max(last, floor), because an unsigned field does not go below zero. Then the fences drawn are added. One command, so
 * nobody comes in between.
 *
 * The floor is this process's estimate of the server's clock, because a MULTI cannot compute with the reply to TIME. It
 * is never ahead of that clock. So each MULTI asks for TIME as well, and a fence that turns out to lie further behind
 * than MOST_LAG and a round trip is not used: it is drawn once more, above that time, if the lock is still held then.
 * That is why fences grow also after a restart or a failover that lost the last ones: those before are at most the
 * server's clock of then, those after are at least the clock after the outage, less MOST_LAG and a round trip. (The
 * first fence of a process is drawn twice, and so is one after a minute without.)
 *
 * The scheme `lua` counts in a key of its own, as decimal digits, with which no command but INCR can compute. This
 * scheme counts there, too, and the larger number is the fence. So a lock's fences also grow if both schemes take it in
 * turn: from `lua` to `set` because of that key, from `set` to `lua` because scripts floor fences with the server's
 * clock.
 */
import type { Clock } from "../../clock.ts";
import type { Home } from "../keys.ts";
import { integerOf, listOf } from "./replies.ts";

/** How long a counter is kept after the last fence, in milliseconds. */
const KEPT = 3_600_000;

/** How many milliseconds, besides a round trip, a fence may lie behind the server's clock. A restart takes longer. */
const MOST_LAG = 25;

/** How much faster than the server's clock ours may run: as much as clocks are slewed to set them. */
const DRIFT = 500e-6;

/** How many replies there are to the commands that draw. */
const REPLIES = 5;

export interface Drawn {
  /** The first of the fences. */
  readonly first: number;
  /** Further behind the server's clock than is allowed: not to be used. The next ones will be above that clock. */
  readonly isLate: boolean;
}

export class Fences {
  readonly #clock: Clock;
  /** What the server's clock showed at least, in microseconds, at this time of ours. */
  #heard: { readonly micros: number; readonly at: number } | undefined;
  /** When it was heard first. What was sent before had no floor. */
  #since = Infinity;
  /** The shortest round trip of late. */
  #trip = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The commands that draw this many consecutive fences, for the end of a MULTI. */
  commands({ counter, setCounter }: Home, count: number): string[][] {
    const floor = Math.max(0, this.#serverMicros() - 1);
    const add = (number: number): string[] => ["INCRBY", "u63", "0", String(number)];
    return [
      ["BITFIELD", setCounter, "OVERFLOW", "SAT", ...add(-floor), ...add(floor), ...add(count)],
      ["PEXPIRE", setCounter, String(KEPT)],
      ["INCRBY", counter, String(count)],
      ["PEXPIRE", counter, String(KEPT)],
      ["TIME"],
    ];
  }

  /**
   * @param replies to these commands, and to whatever stood before them in the MULTI
   * @param sentAt when the MULTI was sent, by our clock
   * @throws SchemeError if a command failed or a reply has another shape
   */
  read(replies: readonly unknown[], count: number, sentAt: number): Drawn {
    const [field, , counted, , time] = replies.slice(-REPLIES);
    const last = Math.max(integerOf(listOf(field, "BITFIELD", 3)[2], "BITFIELD"), integerOf(counted, "INCRBY"));
    const [seconds, micros] = listOf(time, "TIME", 2);
    const now = integerOf(seconds, "TIME") * 1e6 + integerOf(micros, "TIME");
    const hadNoFloor = sentAt < this.#since;
    this.#hear(now, sentAt);
    const first = last - count + 1;
    return { first, isLate: hadNoFloor || first < now - (MOST_LAG + this.#trip) * 1000 };
  }

  /** The server's clock, or less. */
  #serverMicros(): number {
    if (!this.#heard) return 0;
    const { micros, at } = this.#heard;
    return Math.floor(micros + (this.#clock.now() - at) * 1000 * (1 - DRIFT));
  }

  #hear(micros: number, sentAt: number): void {
    const at = this.#clock.now();
    this.#heard = { micros, at };
    if (this.#since === Infinity) this.#since = at;
    // It grows slowly, so that a line that has become slower is believed after a while, and a stall is not.
    this.#trip = Math.min(at - sentAt, this.#trip + 1);
  }
}
