/** Something that must be looked at when it is due. */
export interface Scheduled {
  /** When it is due, by the clock of the schedule's owner. Read when it is added or moved. */
  readonly due: number;
  /** Maintained by the schedule; -1 if it is in none. */
  position: number;
}

/** A binary heap that knows the positions of its items, so that any of them can be removed. */
export class Schedule<T extends Scheduled> {
  readonly #items: T[] = [];
  /** When each item is due. Numbers in an array take less memory, and are found sooner, than those in the items. */
  readonly #times: number[] = [];

  /** A copy, in no particular order. */
  get items(): T[] {
    return [...this.#items];
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  /** When the first is due; Infinity if there is none. */
  get due(): number {
    return this.#times[0] ?? Infinity;
  }

  add(item: T): void {
    this.#up(item, item.due, this.#items.length);
  }

  remove(item: T): void {
    const hole = item.position;
    if (hole < 0) return;
    item.position = -1;
    const last = this.#items.pop() as T;
    const time = this.#times.pop() as number;
    if (last === item) return;
    this.#up(last, time, hole);
    this.#down(last, time, last.position);
  }

  /** The item, which is in the schedule, is due at another time than before. */
  move(item: T): void {
    const { due } = item;
    this.#up(item, due, item.position);
    this.#down(item, due, item.position);
  }

  #place(item: T, time: number, at: number): void {
    this.#items[at] = item;
    this.#times[at] = time;
    item.position = at;
  }

  /** Put it there, or higher up: items that are due later move down. */
  #up(item: T, time: number, from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#times[parent] as number;
      if (above <= time) break;
      this.#place(this.#items[parent] as T, above, at);
      at = parent;
    }
    this.#place(item, time, at);
  }

  #down(item: T, time: number, from: number): void {
    const times = this.#times;
    let at = from;
    for (;;) {
      let least = 2 * at + 1;
      if (least >= times.length) break;
      if (least + 1 < times.length && times[least + 1]! < times[least]!) least++;
      const below = times[least] as number;
      if (below >= time) break;
      this.#place(this.#items[least] as T, below, at);
      at = least;
    }
    this.#place(item, time, at);
  }
}
