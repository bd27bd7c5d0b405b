import type { World } from "../world/world.ts";

interface Under<T> {
  readonly message: T;
  readonly arrival: number;
}

/** One direction of a connection: what is sent arrives in order, each message after a latency of its own, or never. */
export class Pipe<T> {
  readonly #world: World;
  readonly #latency: () => number;
  readonly #deliver: (message: T) => void;
  readonly #under: Under<T>[] = [];
  #last = 0;
  #heldUntil = 0;
  #isCut = false;
  #isArmed = false;

  constructor(world: World, latency: () => number, deliver: (message: T) => void) {
    this.#world = world;
    this.#latency = latency;
    this.#deliver = deliver;
  }

  /** @param departure when it leaves; its sender may be ahead of the world @returns false if it is lost */
  send(message: T, departure: number): boolean {
    if (this.#isCut) return false;
    this.#last = Math.max(this.#last, departure + this.#latency());
    this.#under.push({ message, arrival: this.#last });
    this.#arm();
    return true;
  }

  /** Nothing arrives before that time. */
  hold(until: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, until);
  }

  /** What has not arrived never will. @returns what that was */
  cut(): T[] {
    this.#isCut = true;
    return this.#under.splice(0).map(({ message }) => message);
  }

  #arm(): void {
    const [first] = this.#under;
    if (!first || this.#isArmed) return;
    this.#isArmed = true;
    this.#world.at(Math.max(first.arrival, this.#heldUntil), () => this.#arrive());
  }

  #arrive(): void {
    this.#isArmed = false;
    const [first] = this.#under;
    if (!first) return;
    if (this.#heldUntil > this.#world.now) return this.#arm();
    this.#under.shift();
    this.#deliver(first.message);
    this.#arm();
  }
}
