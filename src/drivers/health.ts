/** What a driver knows from a client's events: how often connections were lost, and the latest error. */

/** Anything with events. */
export interface Emitter {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

type Listener = (...args: unknown[]) => void;

/** The names of a client's events, by what they mean. */
export interface EventNames {
  /** A connection was lost, so unanswered commands on it may be sent twice, or never. */
  readonly lost: readonly string[];
  /** The connection failed, for the given reason. */
  readonly failed: readonly string[];
  /** The connection is ready. */
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

/** What all drivers derive from their client's events. */
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
