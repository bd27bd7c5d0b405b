/** More items in one call would keep the server from others for too long: an item costs it up to 10 µs. */
import { afterPromises } from "../runtime.ts";
const MOST_ITEMS = 64;

/** Told of an item's own reply, or of the error that the whole call met. */
export interface Listener {
  heard(reply: unknown, error?: unknown): void;
}

/** Items of the same script that travel as one call. */
export class Parcel<Common extends readonly unknown[] = readonly unknown[]> {
  /** What all its items have in common. */
  readonly common: Common;
  /** Of all items, one after the other. */
  readonly keys: string[] = [];
  readonly args: string[] = [];
  size = 0;
  /** One promise for all items: one each would cost more than the rest of the work here. */
  #replies: Promise<unknown[]> | undefined;
  #resolve: ((replies: Promise<unknown[]>) => void) | undefined;
  readonly #listeners: Listener[] = [];

  constructor(common: Common) {
    this.common = common;
  }

  /** Whether an item with these in common may travel along. */
  suits(common: readonly unknown[]): boolean {
    if (this.size === MOST_ITEMS) return false;
    for (let i = 0; i < common.length; i++) if (this.common[i] !== common[i]) return false;
    return true;
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

/** One item's own reply. */
export async function replyTo({ replies, index }: Added): Promise<unknown> {
  return (await replies)[index];
}

/** Adds an item to what leaves at the end of this turn. */
export type AddItem<
  Keys extends readonly string[],
  Args extends readonly string[],
  Common extends readonly unknown[] = [],
> = (keys: Keys, args: Args, ...common: Common) => Added;

/** Adds one that is listened to. */
export type PostItem<
  Keys extends readonly string[],
  Args extends readonly string[],
  Common extends readonly unknown[] = [],
> = (listener: Listener, keys: Keys, args: Args, ...common: Common) => void;

/**
 * Gathers the calls of one turn of the event loop: those of the same script travel as one, and all of them in one
 * write. A call that is alone in its turn is sent no later than it would be without.
 */
export class Outbox {
  readonly #together: (run: () => void) => void;
  /** Each sends what one script has to do. */
  readonly #senders: ((mayBeSlow: boolean) => void)[] = [];
  #parcels = 0;
  #scheduled = false;
  /** Parcels that hold up what is sent behind them, and are out. */
  #slow = 0;

  /**
   * @param together sends what is sent in the course of a function in one write
   */
  constructor(together: (run: () => void) => void) {
    this.#together = together;
  }

  /**
   * Scripts are sent in the order in which they were named here. Items share a call only if they have all of `common`
   * in common.
   *
   * @param isSlow of a parcel that holds up what is sent behind it: the server does nothing else for its connection
   *   until it is done. While such parcels are out those that come meanwhile stay here and gather, to be done in one go.
   */
  script<Keys extends readonly string[], Args extends readonly string[], Common extends readonly unknown[] = []>(
    run: (parcel: Parcel<Common>) => Promise<unknown[]>,
    isSlow?: (common: Common) => boolean,
  ): AddItem<Keys, Args, Common> {
    const parcelFor = this.#open(run, isSlow);
    return (keys, args, ...common) => {
      const parcel = parcelFor(common);
      const added = parcel.add(keys, args);
      if (parcel.size === MOST_ITEMS) this.#send();
      return added;
    };
  }

  /** The same for items that are listened to. */
  heardScript<Keys extends readonly string[], Args extends readonly string[], Common extends readonly unknown[] = []>(
    run: (parcel: Parcel<Common>) => Promise<unknown[]>,
  ): PostItem<Keys, Args, Common> {
    const parcelFor = this.#open(run);
    return (listener, keys, args, ...common) => {
      const parcel = parcelFor(common);
      parcel.addFor(listener, keys, args);
      if (parcel.size === MOST_ITEMS) this.#send();
    };
  }

  /** Gives the parcel for an item with these in common, which leaves at the end of this turn. */
  #open<Common extends readonly unknown[]>(
    run: (parcel: Parcel<Common>) => Promise<unknown[]>,
    isSlow?: (common: Common) => boolean,
  ): (common: Common) => Parcel<Common> {
    let parcels: Parcel<Common>[] = [];
    let kept: Parcel<Common>[] = [];
    this.#senders.push((mayBeSlow) => {
      if (parcels.length === 0 && (kept.length === 0 || !mayBeSlow)) return;
      const due = kept.length > 0 ? kept.concat(parcels) : parcels;
      kept = [];
      parcels = [];
      for (const parcel of due) {
        const slow = isSlow?.(parcel.common) ?? false;
        if (slow && !mayBeSlow) {
          kept.push(parcel);
          continue;
        }
        const replies = run(parcel);
        parcel.settle(replies);
        if (slow) this.#watch(replies);
      }
    });
    return (common) => {
      let parcel = parcels.at(-1);
      if (!parcel?.suits(common)) {
        parcel = kept.length > 0 ? kept.find((each) => each.suits(common)) : undefined;
        if (!parcel) {
          parcels.push((parcel = new Parcel(common)));
          this.#parcels++;
        }
      }
      this.#schedule();
      return parcel;
    };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After all promises of this turn have run, before anything of the next.
    afterPromises(() => {
      this.#scheduled = false;
      // One alone needs no bundling.
      if (this.#parcels === 1) this.#send();
      else this.#together(() => this.#send());
    });
  }

  #send(): void {
    this.#parcels = 0;
    // All that leave together are out together.
    const mayBeSlow = this.#slow === 0;
    for (const send of this.#senders) send(mayBeSlow);
  }

  #watch(replies: Promise<unknown>): void {
    this.#slow++;
    const settled = (): void => {
      if (--this.#slow === 0) this.#schedule();
    };
    replies.then(settled, settled);
  }
}
