/** Something that must be looked at when it is due. */
export interface Scheduled {
  /** When it is due, by the clock of the schedule's owner. Read when it is added. */
  readonly due: number;
  /** Maintained by the schedule: its position, or -1, and when it was due. */
  position: number;
  scheduledFor: number;
}

/** A binary heap that knows the positions of its items, so that any of them can be removed. */
export class Schedule<T extends Scheduled> {
  readonly #items: T[] = [];

  /** A copy, in no particular order. */
  get items(): T[] {
    return [...this.#items];
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  add(item: T): void {
    item.scheduledFor = item.due;
    this.#up(item, this.#items.length);
  }

  remove(item: T): void {
    const hole = item.position;
    if (hole < 0) return;
    item.position = -1;
    const last = this.#items.pop() as T;
    if (last === item) return;
    this.#up(last, hole);
    this.#down(last, last.position);
  }

  #place(item: T, at: number): void {
    this.#items[at] = item;
    item.position = at;
  }

  /** Put it there, or higher up: items that are due later move down. */
  #up(item: T, at: number): void {
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#items[parent] as T;
      if (above.scheduledFor <= item.scheduledFor) break;
      this.#place(above, at);
      at = parent;
    }
    this.#place(item, at);
  }

  #down(item: T, at: number): void {
    const items = this.#items;
    for (;;) {
      let least = 2 * at + 1;
      if (least >= items.length) break;
      const right = least + 1;
      if (right < items.length && items[right]!.scheduledFor < items[least]!.scheduledFor) least = right;
      const below = items[least] as T;
      if (below.scheduledFor >= item.scheduledFor) break;
      this.#place(below, at);
      at = least;
    }
    this.#place(item, at);
  }
}
