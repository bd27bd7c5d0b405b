/** More items in one call would keep the server from others for too long: an item costs it up to 10 µs. */
const MOST_ITEMS = 64;

/** Told of an item's own reply, or of the error that the whole call met. */
export interface Listener {
  heard(reply: unknown, error?: unknown): void;
}

/** Items of the same script that travel as one call. */
export class Parcel {
  /** What the whole call has in common. */
  readonly shared: string;
  /** Of all items, one after the other. */
  readonly keys: string[] = [];
  readonly args: string[] = [];
  size = 0;
  /** One promise for all items: one each would cost more than the rest of the work here. */
  #replies: Promise<unknown[]> | undefined;
  #resolve: ((replies: Promise<unknown[]>) => void) | undefined;
  readonly #listeners: Listener[] = [];

  constructor(shared: string) {
    this.shared = shared;
  }

  /** Resolves with the replies to all items, and says which one is this item's. */
  add(keys: readonly string[], args: readonly string[]): Added {
    this.#replies ??= new Promise((resolve) => (this.#resolve = resolve));
    return { replies: this.#replies, index: this.#put(keys, args) };
  }

  /** All items of a parcel have listeners, or none. */
  addFor(listener: Listener, keys: readonly string[], args: readonly string[]): void {
    this.#put(keys, args);
    this.#listeners.push(listener);
  }

  settle(replies: Promise<unknown[]>): void {
    this.#resolve?.(replies);
    const listeners = this.#listeners;
    if (listeners.length === 0) return;
    replies.then(
      (all) => {
        for (let i = 0; i < listeners.length; i++) (listeners[i] as Listener).heard(all[i]);
      },
      (error: unknown) => {
        for (const each of listeners) each.heard(undefined, error);
      },
    );
  }

  #put(keys: readonly string[], args: readonly string[]): number {
    for (let i = 0; i < keys.length; i++) this.keys.push(keys[i] as string);
    for (let i = 0; i < args.length; i++) this.args.push(args[i] as string);
    return this.size++;
  }
}

/** Where an item's reply will be found. */
export interface Added {
  readonly replies: Promise<unknown[]>;
  readonly index: number;
}

interface OutgoingScript {
  readonly run: (parcel: Parcel) => Promise<unknown[]>;
  parcels: Parcel[];
}

/** One item's own reply. */
export async function replyTo({ replies, index }: Added): Promise<unknown> {
  return (await replies)[index];
}

/** Adds an item to what leaves at the end of this turn. */
export type AddItem<Keys extends readonly string[], Args extends readonly string[]> = (
  keys: Keys,
  args: Args,
  shared?: string,
) => Added;

/** Adds one that is listened to. */
export type PostItem<Keys extends readonly string[], Args extends readonly string[]> = (
  keys: Keys,
  args: Args,
  shared: string,
  listener: Listener,
) => void;

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
    const script = this.#open(run);
    return (keys, args, shared = "") => {
      const parcel = this.#parcelFor(script, shared);
      const added = parcel.add(keys, args);
      if (parcel.size === MOST_ITEMS) this.#send();
      return added;
    };
  }

  /** The same for items that are listened to. */
  heardScript<Keys extends readonly string[], Args extends readonly string[]>(
    run: (parcel: Parcel) => Promise<unknown[]>,
  ): PostItem<Keys, Args> {
    const script = this.#open(run);
    return (keys, args, shared, listener) => {
      const parcel = this.#parcelFor(script, shared);
      parcel.addFor(listener, keys, args);
      if (parcel.size === MOST_ITEMS) this.#send();
    };
  }

  #open(run: (parcel: Parcel) => Promise<unknown[]>): OutgoingScript {
    const script: OutgoingScript = { run, parcels: [] };
    this.#scripts.push(script);
    return script;
  }

  #parcelFor(script: OutgoingScript, shared: string): Parcel {
    let parcel = script.parcels.at(-1);
    if (!parcel || parcel.shared !== shared) {
      script.parcels.push((parcel = new Parcel(shared)));
      this.#parcels++;
    }
    this.#schedule();
    return parcel;
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
