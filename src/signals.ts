/** Abort signals that users pass in. */

/**
 * All requests that the abort of one signal concerns: the signal has one listener of ours, however many requests use it.
 */
class Concerned {
  readonly #signal: AbortSignal;
  readonly #runs = new Set<() => void>();
  readonly #listener = (): void => {
    const runs = [...this.#runs];
    this.#end();
    for (const run of runs) run();
  };

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#listener);
  }

  add(run: () => void): void {
    this.#runs.add(run);
  }

  delete(run: () => void): void {
    if (this.#runs.delete(run) && this.#runs.size === 0) this.#end();
  }

  #end(): void {
    this.#runs.clear();
    this.#signal.removeEventListener("abort", this.#listener);
    concerned.delete(this.#signal);
  }
}

const concerned = new WeakMap<AbortSignal, Concerned>();

/**
 * Calls `run` when the signal aborts, but not if it has aborted already.
 *
 * @returns a function that stops this; the signal keeps no listener of ours once nobody needs it
 */
export function onAbort(signal: AbortSignal | undefined, run: () => void): () => void {
  if (!signal || signal.aborted) return () => {};
  let all = concerned.get(signal);
  if (!all) concerned.set(signal, (all = new Concerned(signal)));
  const here = all;
  // A separate function, so that the same `run` can be registered twice.
  const own = (): void => run();
  here.add(own);
  return () => here.delete(own);
}

/** @throws its reason, if it has aborted. Not every polyfill has the method of that name. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw "reason" in signal ? signal.reason : new DOMException("This operation was aborted", "AbortError");
}
