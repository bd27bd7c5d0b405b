import { afterPromises } from "../../runtime.ts";

/** More items in one batch would block the server for too long: an item costs it one to two microseconds. */
const MOST_ITEMS = 128;

interface Terms<Item> {
  /** Send what is sent in the course of `run` in one write. */
  readonly together: (run: () => void) => void;
  /** Send a batch of one group. Whatever happens, it settles its items by itself and never rejects. */
  readonly send: (batch: Item[]) => Promise<void>;
  /** Whether items of its group that come while this batch is unanswered are collected until its answer. */
  readonly isAlone: (batch: readonly Item[]) => boolean;
  /** Whether the item may join a batch of its group; if not, the batch ends there. */
  readonly mayJoin?: (batch: readonly Item[], item: Item) => boolean;
}

/**
 * Collects the items of one turn of the event loop, and sends those of one group in one batch, in the order in which
 * they came. An item that is alone in its turn is sent no later than it would be without. (../batches.ts gathers a few
 * kinds of items that are known beforehand; here there are as many groups as slots or locks, and they come and go.)
 */
export class Groups<Item> {
  readonly #terms: Terms<Item>;
  readonly #waiting = new Map<string, Item[]>();
  readonly #out = new Set<string>();
  #isDue = false;

  constructor(terms: Terms<Item>) {
    this.#terms = terms;
  }

  add(group: string, item: Item): void {
    const items = this.#waiting.get(group);
    if (items) items.push(item);
    else this.#waiting.set(group, [item]);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    // After all promises of this turn have run, before anything of the next.
    afterPromises(() => {
      this.#isDue = false;
      this.#terms.together(() => this.#sendAll());
    });
  }

  #sendAll(): void {
    for (const [group, items] of this.#waiting) {
      if (this.#out.has(group)) continue;
      this.#waiting.delete(group);
      for (let from = 0; from < items.length;) {
        const batch = this.#firstOf(items, from);
        from += batch.length;
        const sent = this.#terms.send(batch);
        if (!this.#terms.isAlone(batch)) continue;
        if (from < items.length) this.#waiting.set(group, items.slice(from));
        this.#waitFor(group, sent);
        break;
      }
    }
  }

  #firstOf(items: readonly Item[], from: number): Item[] {
    const { mayJoin } = this.#terms;
    if (!mayJoin) return items.slice(from, from + MOST_ITEMS);
    const batch: Item[] = [];
    for (let at = from; at < items.length && batch.length < MOST_ITEMS; at++) {
      const item = items[at] as Item;
      if (batch.length > 0 && !mayJoin(batch, item)) break;
      batch.push(item);
    }
    return batch;
  }

  #waitFor(group: string, sent: Promise<void>): void {
    this.#out.add(group);
    void sent.then(() => {
      this.#out.delete(group);
      if (this.#waiting.has(group)) this.#schedule();
    });
  }
}
