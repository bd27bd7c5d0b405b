import { afterPromises } from "../../runtime.ts";

/** More items in one batch would block the server for too long: an item costs it one to two microseconds. */
const MOST_ITEMS = 128;
/** And this many that may not join a batch are passed by others. */
const MOST_PASSED = 128;

interface Terms<Item> {
  /** Send what is sent in the course of `run` in one write. */
  readonly together: (run: () => void) => void;
  /** Send a batch of one group. Whatever happens, it settles its items by itself and never rejects. */
  readonly send: (batch: Item[]) => Promise<void>;
  /** Whether items of its group that come while this batch is unanswered are collected until its answer. */
  readonly isAlone: (batch: readonly Item[]) => boolean;
  /** Whether the item may join a batch of its group (default: always). */
  readonly mayJoin?: (batch: readonly Item[], item: Item) => boolean;
  /** Whether the item may be sent before these, which came first and may not join the batch (default: always). */
  readonly mayPass?: (passed: readonly Item[], item: Item) => boolean;
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
      for (let left: readonly Item[] = items; left.length > 0;) {
        const [batch, later] = this.#split(left);
        left = later;
        const sent = this.#terms.send(batch);
        if (!this.#terms.isAlone(batch)) continue;
        if (later.length > 0) this.#waiting.set(group, later);
        this.#waitFor(group, sent);
        break;
      }
    }
  }

  /** The next batch, and what is left for later ones. */
  #split(items: readonly Item[]): [batch: Item[], later: Item[]] {
    const { mayJoin, mayPass } = this.#terms;
    if (!mayJoin) return [items.slice(0, MOST_ITEMS), items.slice(MOST_ITEMS)];
    const batch: Item[] = [];
    const passed: Item[] = [];
    let at = 0;
    for (; at < items.length && batch.length < MOST_ITEMS && passed.length < MOST_PASSED; at++) {
      const item = items[at] as Item;
      const joins = (batch.length === 0 || mayJoin(batch, item)) && (mayPass?.(passed, item) ?? true);
      (joins ? batch : passed).push(item);
    }
    return [batch, passed.concat(items.slice(at))];
  }

  #waitFor(group: string, sent: Promise<void>): void {
    this.#out.add(group);
    void sent.then(() => {
      this.#out.delete(group);
      if (this.#waiting.has(group)) this.#schedule();
    });
  }
}
