/** Something that must be looked at when its time has come. */
export interface Scheduled {
  /** When, by the clock of whoever keeps the schedule. Read when it is added. */
  readonly due: number;
  /** Kept by the schedule: its place, or -1. */
  position: number;
}

/** A binary heap that knows where its items stand, so that one can be taken out again without a trace. */
export class Schedule<T extends Scheduled> {
  readonly #items: T[] = [];
  readonly #keys: number[] = [];

  /** A copy, in no order. */
  get items(): T[] {
    return [...this.#items];
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  add(item: T): void {
    this.#place(item, item.due, this.#items.length);
    this.#up(item.position);
  }

  remove(item: T): void {
    const hole = item.position;
    if (hole < 0) return;
    item.position = -1;
    const last = this.#items.pop() as T;
    const key = this.#keys.pop() as number;
    if (last === item) return;
    this.#place(last, key, hole);
    this.#up(hole);
    this.#down(last.position);
  }

  #place(item: T, key: number, at: number): void {
    this.#items[at] = item;
    this.#keys[at] = key;
    item.position = at;
  }

  #swap(a: number, b: number): void {
    const item = this.#items[a] as T;
    const key = this.#keys[a] as number;
    this.#place(this.#items[b] as T, this.#keys[b] as number, a);
    this.#place(item, key, b);
  }

  #key(at: number): number {
    return this.#keys[at] ?? Infinity;
  }

  #up(start: number): void {
    for (let at = start; at > 0;) {
      const parent = (at - 1) >> 1;
      if (this.#key(parent) <= this.#key(at)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(start: number): void {
    for (let at = start; ;) {
      const left = 2 * at + 1;
      const least = this.#key(left + 1) < this.#key(left) ? left + 1 : left;
      if (this.#key(least) >= this.#key(at)) return;
      this.#swap(at, least);
      at = least;
    }
  }
}
