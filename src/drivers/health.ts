/** What a driver hears from a client: how often its connections were lost, and what it complains of. */

/** Anything with events. */
export interface Emitter {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

type Listener = (...args: unknown[]) => void;

/** The names of a client's events, by what they mean. */
export interface EventNames {
  /** A connection was lost, so what was out on it may be sent twice, or never. */
  readonly lost: readonly string[];
  /** The connection fails for the reason that comes along. */
  readonly failed: readonly string[];
  /** The connection stands. */
  readonly ready: readonly string[];
}

export class Health {
  drops = 0;
  complaint: unknown;
  /** See `Driver.scripts`. */
  readonly scripts: Map<string, Set<string>> = new Map();
  readonly #listeners = new Set<readonly [emitter: Emitter, event: string, listener: Listener]>();

  readonly lost = (): void => {
    this.drops++;
    this.scripts.clear();
  };
  readonly failed = (error: unknown): void => {
    this.complaint = error;
  };
  readonly ready = (): void => {
    this.complaint = undefined;
  };

  /** Listen until `close`, or until told to leave this emitter. */
  on(emitter: Emitter, event: string, listener: Listener): void {
    emitter.on(event, listener);
    this.#listeners.add([emitter, event, listener]);
  }

  watch(emitter: Emitter, names: EventNames): void {
    for (const event of names.lost) this.on(emitter, event, this.lost);
    for (const event of names.failed) this.on(emitter, event, this.failed);
    for (const event of names.ready) this.on(emitter, event, this.ready);
  }

  /** @param emitter undefined for all */
  leave(emitter?: Emitter): void {
    for (const entry of this.#listeners) {
      const [from, event, listener] = entry;
      if (emitter && from !== emitter) continue;
      from.off(event, listener);
      this.#listeners.delete(entry);
    }
  }
}

/** What all drivers have of what is heard from their client. */
export abstract class HearingDriver {
  protected readonly health: Health = new Health();

  get drops(): number {
    return this.health.drops;
  }

  get complaint(): unknown {
    return this.health.complaint;
  }

  get scripts(): Map<string, Set<string>> {
    return this.health.scripts;
  }
}
