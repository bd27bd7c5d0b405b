import { systemClock } from "../../clock.ts";

/**
 * When a lock ends, by the monotonic clock. Its users see, and may set, a time of day; what happens to that clock
 * afterwards does not count.
 */
export class Deadline {
  #expiration: number;
  #deadline: number;

  /** @param expiration in milliseconds since 1970 */
  constructor(expiration: number) {
    this.#expiration = expiration;
    this.#deadline = systemClock.now() + expiration - Date.now();
  }

  /**
   * Milliseconds until then; negative afterwards.
   *
   * @param expiration what the user sees now: it is reckoned with anew if it was changed
   */
  remaining(expiration: number): number {
    if (expiration !== this.#expiration) {
      this.#expiration = expiration;
      this.#deadline = systemClock.now() + expiration - Date.now();
    }
    return this.#deadline - systemClock.now();
  }
}
