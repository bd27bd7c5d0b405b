/** Something that waits in a queue. The queue keeps its links. */
export interface Queued<T> {
  before: T | undefined;
  behind: T | undefined;
}

/** First in, first out, and an item can leave at any time. An empty queue is two references. */
export class Queue<T extends Queued<T>> {
  first: T | undefined;
  last: T | undefined;
  size = 0;

  add(item: T): void {
    item.before = this.last;
    item.behind = undefined;
    if (this.last) this.last.behind = item;
    else this.first = item;
    this.last = item;
    this.size++;
  }

  /** Puts it before all others. */
  addFirst(item: T): void {
    item.before = undefined;
    item.behind = this.first;
    if (this.first) this.first.before = item;
    else this.last = item;
    this.first = item;
    this.size++;
  }

  /** Whether the item, which is in no other queue, is in this one. */
  has(item: T): boolean {
    return item.before !== undefined || this.first === item;
  }

  /** The item must be in this queue. */
  remove(item: T): void {
    if (item.before) item.before.behind = item.behind;
    else this.first = item.behind;
    if (item.behind) item.behind.before = item.before;
    else this.last = item.before;
    item.before = item.behind = undefined;
    this.size--;
  }

  /** The next item is read before each one is yielded, so items may leave meanwhile. */
  *[Symbol.iterator](): Generator<T, void, void> {
    for (let item = this.first; item;) {
      const next: T | undefined = item.behind;
      yield item;
      item = next;
    }
  }
}
