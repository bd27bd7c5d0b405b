/** A list for each lock, newest last, with a limit for each list and for all together: the oldest entries go first. */
export class Journal<T> {
  readonly #mostForOne: number;
  readonly #most: number;
  readonly #lists = new Map<string, T[]>();
  #size = 0;

  constructor(mostForOne: number, most: number) {
    this.#mostForOne = mostForOne;
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  add(lock: string, entry: T): void {
    const list = this.#lists.get(lock) ?? [];
    // Behind all others: the lists are kept in the order of their latest entries.
    this.#lists.delete(lock);
    this.#lists.set(lock, list);
    list.push(entry);
    this.#size++;
    if (list.length > this.#mostForOne) {
      list.shift();
      this.#size--;
    }
    while (this.#size > this.#most) this.#dropOldest();
  }

  of(lock: string): readonly T[] {
    return this.#lists.get(lock) ?? [];
  }

  last(lock: string): T | undefined {
    return this.#lists.get(lock)?.at(-1);
  }

  /** The list whose latest entry is the oldest loses its first one. */
  #dropOldest(): void {
    const [oldest] = this.#lists;
    if (!oldest) return;
    const [lock, list] = oldest;
    list.shift();
    this.#size--;
    if (list.length === 0) this.#lists.delete(lock);
  }
}
