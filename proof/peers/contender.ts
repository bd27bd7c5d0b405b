/** What a scenario asks of a library. Where a library has no such thing, it is left out, and the scenario is not for it. */

export interface Held {
  /** Whether the lock is held, as the library says at once, without asking the server. */
  isHeld(): boolean;
  readonly fence?: number;
  release(): Promise<unknown>;
}

export interface Terms {
  readonly ttl: number;
  /** Gives up after about this long, in milliseconds (default: a minute). */
  readonly patience?: number;
  readonly signal?: AbortSignal;
}

export interface Session {
  /** Waits for the lock, which is not renewed. */
  acquire(name: string, terms: Terms): Promise<Held>;
  /** Holds the lock, which the library renews, while the work runs. */
  hold?<T>(name: string, ttl: number, work: (told: AbortSignal, isHeld: () => boolean) => Promise<T>): Promise<T>;
  /** One of so many permits, or nothing if none is free. */
  permit?(name: string, limit: number, ttl: number): Promise<Held | undefined>;
}

export interface Contender {
  readonly id: string;
  readonly title: string;
  /** The folder under node_modules; undefined for this project. */
  readonly package: string | undefined;
  readonly settings: string;
  /** The key of a lock on the server. */
  key(name: string): string;
  readonly canAbort: boolean;
  /** On one server, or on several independent ones. */
  open(urls: readonly string[]): Promise<Session>;
}
