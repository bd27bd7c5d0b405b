/** Virtual time: a list of what will happen, carried out one after the other. No real time passes between two of them. */

/** Something that will happen. */
export interface Event {
  readonly at: number;
  cancel(): void;
}

class Entry implements Event {
  readonly at: number;
  /** Of two events at the same time, the one that was planned first happens first. */
  readonly order: number;
  run: (() => void) | undefined;

  constructor(at: number, order: number, run: () => void) {
    this.at = at;
    this.order = order;
    this.run = run;
  }

  cancel(): void {
    this.run = undefined;
  }
}

export class World {
  /** Milliseconds since the world began. */
  now = 0;
  readonly #heap: Entry[] = [];
  #count = 0;

  at(time: number, run: () => void): Event {
    const entry = new Entry(Math.max(time, this.now), this.#count++, run);
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1);
    return entry;
  }

  /** Let everything happen that is due until then. */
  run(end: number): void {
    for (let first = this.#heap[0]; first && first.at <= end; first = this.#heap[0]) {
      this.#pop();
      if (!first.run) continue;
      this.now = first.at;
      first.run();
    }
    this.now = Math.max(this.now, end);
  }

  #pop(): void {
    const last = this.#heap.pop() as Entry;
    if (this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down();
  }

  #up(index: number): void {
    const heap = this.#heap;
    const entry = heap[index] as Entry;
    let at = index;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent] as Entry)) break;
      heap[at] = heap[parent] as Entry;
      at = parent;
    }
    heap[at] = entry;
  }

  #down(): void {
    const heap = this.#heap;
    const entry = heap[0] as Entry;
    let at = 0;
    for (;;) {
      let least = 2 * at + 1;
      if (least >= heap.length) break;
      if (least + 1 < heap.length && isBefore(heap[least + 1] as Entry, heap[least] as Entry)) least++;
      if (!isBefore(heap[least] as Entry, entry)) break;
      heap[at] = heap[least] as Entry;
      at = least;
    }
    heap[at] = entry;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
