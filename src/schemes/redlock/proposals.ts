/** The fences that a manager proposes to its nodes, so that all of them can draw the same one in one round trip. */
import type { Clock } from "../../clock.ts";

/**
 * Proposals run so far ahead of our clock, in microseconds: where a node has no counter it draws at least its own
 * time, and nodes whose clocks lag behind the proposal draw the proposal, all the same.
 */
const LEAD = 1_000_000;

export class Proposals {
  readonly #clock: Clock;
  #lead = LEAD;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Larger than every fence that was proposed or drawn here. */
  next(): number {
    this.#last = Math.max(this.#last + 1, Math.floor(this.#clock.micros()) + this.#lead);
    return this.#last;
  }

  /** A grant drew this fence. If it is beyond what we proposed, others' clocks run ahead of ours: we follow. */
  drawn(fence: number): void {
    if (fence <= this.#last) return;
    this.#lead += fence - this.#last;
    this.#last = fence;
  }

  /** A node refused a proposal for being too far ahead: from now on we go by its clock. */
  refused(nodeMicros: number): void {
    this.#lead = nodeMicros - Math.floor(this.#clock.micros()) + LEAD;
    this.#last = 0;
  }
}
