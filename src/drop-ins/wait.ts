/** Waiting for the next try: until it is due, or a release was heard of. */
import { systemClock } from "../clock.ts";
import type { Timer } from "../clock.ts";
import { onAbort } from "../signals.ts";
import type { Member } from "./member.ts";
import type { Releases, Waiter } from "./releases.ts";

/**
 * Over several servers, those that were woken together begin within this many milliseconds, so as not to split the
 * votes.
 */
const SPREAD = 10;

export class Wait implements Waiter {
  readonly isSimple: boolean;
  readonly #members: readonly Member[];
  readonly #names: readonly string[];
  readonly #quorum: number;
  readonly #signal: AbortSignal | undefined;
  /** The servers that reported a release since the last try began. */
  readonly #heardBy = new Set<Releases>();
  #listens = false;
  #wake: (() => void) | undefined;

  /**
   * @param isSimple whether nobody behind it can have what it cannot have
   * @param signal ends a wait, too
   */
  constructor(
    members: readonly Member[],
    names: readonly string[],
    { isSimple, signal }: { readonly isSimple: boolean; readonly signal?: AbortSignal | undefined },
  ) {
    this.#members = members;
    this.#names = names;
    this.#quorum = Math.floor(members.length / 2) + 1;
    this.isSimple = isSimple;
    this.#signal = signal;
  }

  /** A try begins: only what is released from now on calls for another. */
  begin(): void {
    this.#heardBy.clear();
  }

  heard(by: Releases): void {
    this.#heardBy.add(by);
    if (this.#heardBy.size >= this.#quorum) this.#wake?.();
  }

  /**
   * Waits until `due`, by the monotonic clock, or until a majority reported a release.
   *
   * @returns true if it was woken before
   */
  async until(due: number): Promise<boolean> {
    if (!this.#listens) {
      this.#listens = true;
      for (const member of this.#members) member.hear(this.#names, this);
    }
    const isWoken = await new Promise<boolean>((resolve) => {
      let timer: Timer | undefined;
      const look = (): void => {
        timer?.cancel();
        const left = due - systemClock.now();
        const isCalled = this.#heardBy.size >= this.#quorum;
        if (left > 0 && !isCalled && !this.#signal?.aborted) return void (timer = systemClock.after(left, look, true));
        this.#wake = undefined;
        stop();
        resolve(isCalled && left > 0);
      };
      this.#wake = look;
      const stop = onAbort(this.#signal, look);
      look();
    });
    if (isWoken && this.#members.length > 1) {
      await new Promise<void>((resolve) => void systemClock.after(Math.random() * SPREAD, () => resolve(), true));
    }
    return isWoken;
  }

  /** It waits no longer. */
  end(): void {
    if (this.#listens) for (const member of this.#members) member.leave(this.#names, this);
    this.#wake?.();
  }
}
