/** When the other nodes are asked, too, if only a majority was asked first. */
import type { Clock, Timer } from "../../clock.ts";
import { Queue } from "../../queue.ts";
import type { Queued } from "../../queue.ts";

/** A majority may take that many times what it usually takes before the rest is asked, too; in milliseconds at least. */
const TIMES = 3;
const LEAST = 2;
const MOST = 50;

/** A request that only the first nodes know. */
export interface Young extends Queued<Young> {
  /** When it will have been young for long enough, by our clock. */
  youngUntil: number;
  /** It has been young for long enough. */
  grown(): void;
}

/** All requests of which only a majority knows, with one timer: most are over before it fires. */
export class Patience {
  readonly #clock: Clock;
  readonly #young = new Queue<Young>();
  #timer: Timer | undefined;
  #due = Infinity;
  /** How long a majority takes of late, in milliseconds. */
  #usual = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A majority has answered after that time. */
  took(time: number): void {
    this.#usual += (time - this.#usual) / 8;
  }

  /** @param most how long it may stay young at most, in milliseconds */
  add(young: Young, most: number): void {
    young.youngUntil = this.#clock.now() + Math.min(Math.max(LEAST, TIMES * this.#usual), MOST, most);
    this.#young.add(young);
    if (young.youngUntil < this.#due) this.#arm(young.youngUntil);
  }

  /** It is over, or the other nodes are asked. Nothing happens if that was so before. */
  remove(young: Young): void {
    if (this.#young.has(young)) this.#young.remove(young);
  }

  /** It must not stay young, if it still is. */
  hurry(young: Young): void {
    if (!this.#young.has(young)) return;
    this.#young.remove(young);
    young.grown();
  }

  has(young: Young): boolean {
    return this.#young.has(young);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #arm(due: number): void {
    this.#timer?.cancel();
    this.#due = due;
    this.#timer = this.#clock.after(due - this.#clock.now(), (firedAt) => this.#fire(firedAt), true);
  }

  #fire(firedAt: number): void {
    this.#due = Infinity;
    let next = Infinity;
    for (const young of this.#young) {
      if (young.youngUntil > firedAt) {
        next = Math.min(next, young.youngUntil);
        continue;
      }
      this.#young.remove(young);
      young.grown();
    }
    if (next < this.#due) this.#arm(next);
  }
}
