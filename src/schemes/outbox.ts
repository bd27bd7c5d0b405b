/** More items in one call would keep the server from others for too long: an item costs it some 10 µs. */
const MOST_ITEMS = 64;

/** What one script call works on, item by item. */
export interface BatchItem<Keys, Args> {
  readonly keys: Keys;
  readonly args: Args;
}

interface Call<Keys, Args> extends BatchItem<Keys, Args> {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Runs a script on items and answers each. */
export type RunBatch<Keys, Args> = (items: readonly BatchItem<Keys, Args>[]) => Promise<unknown[]>;

/** Adds an item to the batch of this turn; settles with the item's own reply. */
export type AddToBatch<Keys, Args> = (keys: Keys, args: Args) => Promise<unknown>;

/**
 * Gathers the calls of one turn of the event loop, so that calls of the same script travel as one. A call that is
 * alone in its turn is sent no later than it would be without.
 */
export class Outbox {
  readonly #flushes: (() => void)[] = [];
  #scheduled = false;

  /** Batches are sent in the order in which they were made here. */
  batch<Keys, Args>(run: RunBatch<Keys, Args>): AddToBatch<Keys, Args> {
    let calls: Call<Keys, Args>[] = [];
    this.#flushes.push(() => {
      const due = calls;
      calls = [];
      for (let i = 0; i < due.length; i += MOST_ITEMS) settle(run, due.slice(i, i + MOST_ITEMS));
    });
    return (keys, args) =>
      new Promise((resolve, reject) => {
        calls.push({ keys, args, resolve, reject });
        this.#schedule();
      });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After all promises of this turn have run, before anything of the next.
    process.nextTick(() => {
      this.#scheduled = false;
      for (const flush of this.#flushes) flush();
    });
  }
}

function settle<Keys, Args>(run: RunBatch<Keys, Args>, calls: Call<Keys, Args>[]): void {
  run(calls).then(
    (replies) => calls.forEach(({ resolve }, i) => resolve(replies[i])),
    (error: unknown) => calls.forEach(({ reject }) => reject(error)),
  );
}
