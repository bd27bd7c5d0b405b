import type { Clock, Timer } from "../../clock.ts";
import { KEEP_VALUE } from "../scheme.ts";
import type { LeftValue, Recalled } from "../scheme.ts";

/** What holders leave for those who wait, each until its time is over. */
export class Values {
  readonly #clock: Clock;
  readonly #values = new Map<string, { readonly value: LeftValue; readonly freshUntil: number; readonly end: Timer }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False if a later holder's value is there. */
  leave(key: string, value: LeftValue, ttl: number): boolean {
    const before = this.#values.get(key);
    if (before && before.value.fence > value.fence) return false;
    before?.end.cancel();
    const end = this.#clock.after(ttl + KEEP_VALUE, () => this.#values.delete(key));
    this.#values.set(key, { value, freshUntil: this.#clock.now() + ttl, end });
    return true;
  }

  recall(key: string): Recalled | undefined {
    const found = this.#values.get(key);
    if (!found) return undefined;
    const { value, freshUntil } = found;
    return { ...value, isFresh: !value.isFailure && this.#clock.now() < freshUntil };
  }
}
