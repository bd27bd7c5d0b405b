/**
 * The requests of this manager that wait, lock by lock. Only the first of them contends with other managers; the
 * others look rarely, and step forward when it leaves. So a lock is contended by as many managers as want it, not by
 * as many requests.
 */
export class Line {
  readonly #waiters = new Map<string, Set<string>>();
  /** Who is to ask now, after so many milliseconds. */
  readonly #wake: (lock: string, token: string, delay: number) => void;
  /** Nodes that told of a release since we last looked. */
  readonly #freed = new Map<string, Set<unknown>>();

  constructor(wake: (lock: string, token: string, delay: number) => void) {
    this.#wake = wake;
  }

  /** True for the first in line. */
  enter(lock: string, token: string): boolean {
    let waiters = this.#waiters.get(lock);
    if (!waiters) this.#waiters.set(lock, (waiters = new Set()));
    waiters.add(token);
    return first(waiters) === token;
  }

  has(lock: string): boolean {
    return this.#waiters.has(lock);
  }

  /** The request was granted, or is over; the next one steps forward. */
  leave(lock: string, token: string): void {
    const waiters = this.#waiters.get(lock);
    if (!waiters?.has(token)) return;
    const next = first(waiters) === token;
    waiters.delete(token);
    if (waiters.size === 0) {
      this.#waiters.delete(lock);
      this.#freed.delete(lock);
    } else if (next) this.#call(lock, 0);
  }

  /**
   * A node told that the lock has been released there. When a majority has, the first in line asks; where others
   * were told too, after a random delay, so that they do not split the votes between them.
   */
  freed(lock: string, node: unknown, quorum: number, managers: number): void {
    if (!this.#waiters.has(lock)) return;
    const freed = this.#freed.get(lock) ?? new Set();
    this.#freed.set(lock, freed.add(node));
    if (freed.size < quorum) return;
    this.#freed.delete(lock);
    this.#call(lock, Math.random() * (managers - 1) * SPREAD);
  }

  #call(lock: string, delay: number): void {
    const head = first(this.#waiters.get(lock) ?? []);
    if (head !== undefined) this.#wake(lock, head, delay);
  }
}

/** Milliseconds between two managers that ask after a release, about. */
const SPREAD = 2;

function first(tokens: Iterable<string>): string | undefined {
  for (const token of tokens) return token;
  return undefined;
}
