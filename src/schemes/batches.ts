import { afterPromises } from "../runtime.ts";

/**
 * The largest number of items in one call: more would block the server for too long, because an item costs it up to 10
 * µs.
 */
export const MOST_ITEMS = 64;

/**
 * Collects what is sent in one turn of the event loop, so that items of one kind share calls, and all calls leave in
 * one write. An item that is alone in its turn is sent no later for that.
 */
export class Batches {
  readonly #together: (run: () => void) => void;
  readonly #lanes: { flush(): void }[] = [];
  #size = 0;
  #isScheduled = false;

  /** @param together sends what is sent in the course of a function in one write */
  constructor(together: (run: () => void) => void) {
    this.#together = together;
  }

  /**
   * A kind of item. Kinds are sent in the order in which they were declared, items in the order in which they came.
   *
   * @returns adds an item
   */
  lane<T>(send: (items: T[]) => void): (item: T) => void {
    const lane = new Lane<T>(send);
    this.#lanes.push(lane);
    return (item) => {
      lane.items.push(item);
      this.#size++;
      if (lane.items.length === MOST_ITEMS) this.flush();
      else this.#schedule();
    };
  }

  /**
   * A kind whose calls hold up everything sent after them. While one is unanswered, further items are collected.
   *
   * @param send calls `answered` when its calls have been answered
   */
  patientLane<T>(send: (items: T[], answered: () => void) => void): (item: T) => void {
    const waiting: T[] = [];
    let isOut = false;
    const add = this.lane<T>((items) => {
      if (isOut) {
        waiting.push(...items);
        return;
      }
      isOut = true;
      send(items, () => {
        isOut = false;
        for (const item of waiting.splice(0)) add(item);
      });
    });
    return add;
  }

  /** Resolves when all that has been gathered so far has been sent: with the turn, so that it still shares calls. */
  sent(): Promise<void> {
    return new Promise((resolve) => afterPromises(resolve));
  }

  /** Sends everything that has been collected. */
  flush(): void {
    if (this.#size === 0) return;
    const isOne = this.#size === 1;
    this.#size = 0;
    if (isOne) this.#sendAll();
    else this.#together(this.#sendAll);
  }

  readonly #sendAll = (): void => {
    for (const lane of this.#lanes) lane.flush();
  };

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // After all promises of this turn have run, before anything of the next.
    afterPromises(this.#sendDue);
  }

  readonly #sendDue = (): void => {
    this.#isScheduled = false;
    this.flush();
  };
}

class Lane<T> {
  items: T[] = [];
  readonly #send: (items: T[]) => void;

  constructor(send: (items: T[]) => void) {
    this.#send = send;
  }

  flush(): void {
    if (this.items.length === 0) return;
    const { items } = this;
    this.items = [];
    this.#send(items);
  }
}

/** Call `send` with consecutive items that may share a call, `MOST_ITEMS` at most. */
export function inRuns<T>(items: T[], alike: (a: T, b: T) => boolean, send: (run: T[]) => void): void {
  let start = 0;
  for (let i = 1; i <= items.length; i++) {
    const first = items[start] as T;
    if (i < items.length && i - start < MOST_ITEMS && alike(first, items[i] as T)) continue;
    send(start === 0 && i === items.length ? items : items.slice(start, i));
    start = i;
  }
}
