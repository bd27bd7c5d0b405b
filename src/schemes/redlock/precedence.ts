import type { LockMode } from "../scheme.ts";

/**
 * The order in which one manager asks for one lock, while others of its requests hold the lock or wait for it. Nodes would
 * let a reader pass a writer that they know only as refused, so it is not asked before the writer has its place.
 */
export class Precedence {
  readonly #mode: LockMode;
  /** The request before this one, until this one is asked. */
  #before: Precedence | undefined;
  #isPlaced = false;
  #next: (() => void) | undefined;

  constructor(mode: LockMode, before: Precedence | undefined) {
    this.#mode = mode;
    const canPass = before && !before.#isPlaced && (before.#mode !== mode || before.#before);
    this.#before = canPass ? before : undefined;
  }

  /** Calls `run` at once, or when the request before this one has its place. */
  ask(run: () => void): void {
    if (!this.#before) return run();
    this.#before.#next = () => {
      this.#before = undefined;
      run();
    };
  }

  /** Its request holds the lock, is over, or is in the queue of all nodes that are asked anything from now on. */
  placed(): void {
    if (this.#before) return;
    this.#isPlaced = true;
    const next = this.#next;
    this.#next = undefined;
    next?.();
  }
}
