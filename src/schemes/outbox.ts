/** More items in one call would keep the server from others for too long: an item costs it up to 10 µs. */
const MOST_ITEMS = 64;

/** Items of the same script that travel as one call. */
export class Parcel {
  /** What the whole call has in common. */
  readonly shared: string;
  /** Of all items, one after the other. */
  readonly keys: string[] = [];
  readonly args: string[] = [];
  readonly #resolves: ((reply: unknown) => void)[] = [];
  readonly #rejects: ((error: unknown) => void)[] = [];

  constructor(shared: string) {
    this.shared = shared;
  }

  get full(): boolean {
    return this.#resolves.length >= MOST_ITEMS;
  }

  add(keys: readonly string[], args: readonly string[]): Promise<unknown> {
    for (let i = 0; i < keys.length; i++) this.keys.push(keys[i] as string);
    for (let i = 0; i < args.length; i++) this.args.push(args[i] as string);
    return new Promise((resolve, reject) => {
      this.#resolves.push(resolve);
      this.#rejects.push(reject);
    });
  }

  /** Each item gets its own reply, or all the same error. */
  settle(replies: Promise<unknown[]>): void {
    replies.then(
      (each) => this.#resolves.forEach((resolve, i) => resolve(each[i])),
      (error: unknown) => this.#rejects.forEach((reject) => reject(error)),
    );
  }
}

interface OutgoingScript {
  readonly run: (parcel: Parcel) => Promise<unknown[]>;
  parcels: Parcel[];
}

/** Adds an item to what leaves at the end of this turn; settles with the item's own reply. */
export type AddItem<Keys extends readonly string[], Args extends readonly string[]> = (
  keys: Keys,
  args: Args,
  shared?: string,
) => Promise<unknown>;

/**
 * Gathers the calls of one turn of the event loop: those of the same script travel as one, and all of them in one
 * write. A call that is alone in its turn is sent no later than it would be without.
 */
export class Outbox {
  readonly #together: (run: () => void) => void;
  readonly #scripts: OutgoingScript[] = [];
  #parcels = 0;
  #scheduled = false;

  /** @param together sends what is sent in the course of a function in one write */
  constructor(together: (run: () => void) => void) {
    this.#together = together;
  }

  /** Scripts are sent in the order in which they were named here. Items of different `shared` never share a call. */
  script<Keys extends readonly string[], Args extends readonly string[]>(
    run: (parcel: Parcel) => Promise<unknown[]>,
  ): AddItem<Keys, Args> {
    const script: OutgoingScript = { run, parcels: [] };
    this.#scripts.push(script);
    return (keys, args, shared = "") => {
      let parcel = script.parcels.at(-1);
      if (!parcel || parcel.full || parcel.shared !== shared) {
        script.parcels.push((parcel = new Parcel(shared)));
        this.#parcels++;
      }
      this.#schedule();
      return parcel.add(keys, args);
    };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After all promises of this turn have run, before anything of the next.
    process.nextTick(() => {
      this.#scheduled = false;
      // One alone needs no bundling.
      if (this.#parcels === 1) this.#send();
      else this.#together(() => this.#send());
    });
  }

  #send(): void {
    this.#parcels = 0;
    for (const script of this.#scripts) {
      if (script.parcels.length === 0) continue;
      const due = script.parcels;
      script.parcels = [];
      for (const parcel of due) parcel.settle(script.run(parcel));
    }
  }
}
