import { outsideContext } from "../async-context.ts";
import type { LockManager } from "../lock-manager.ts";
import type { CheckedElection } from "../options/election.ts";
import type { Term } from "../primitives/election.ts";
import { onAbort } from "../signals.ts";
import { under } from "./current-lock.ts";

/** What a candidacy needs. */
export type Election = Pick<CheckedElection, "name"> & {
  readonly options: { readonly ttl?: number | undefined; readonly label?: string | undefined };
};

/** This process's candidacy for one leadership, shared by all methods that run while it leads. */
class Candidacy {
  readonly #running = new Set<Promise<unknown>>();
  #term: Term | undefined;
  /** Why the candidacy ended. */
  #end: { readonly error: unknown } | undefined;

  constructor(locks: LockManager, election: Election) {
    // It outlives the call that may have begun it.
    outsideContext(() => void this.#stand(locks, election));
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /**
   * @returns undefined, and nothing is run, unless this process leads
   * @throws what the job throws; LockLostError if the leadership was lost under a job that succeeded; what ended the
   *   candidacy
   */
  async run<T>(job: () => T): Promise<Awaited<T> | undefined> {
    const term = this.#term;
    if (this.#end) throw this.#end.error;
    if (!term?.held || term.signal.aborted) return undefined;
    const running = under(term, async () => await job());
    this.#running.add(running);
    try {
      const value = await running;
      if (!term.held) throw term.signal.reason;
      return value;
    } finally {
      this.#running.delete(running);
    }
  }

  async #stand(locks: LockManager, { name, options }: Election): Promise<void> {
    try {
      for await (const term of locks.elect(name, options)) {
        this.#term = term;
        await new Promise<void>((resolve) => (term.signal.aborted ? resolve() : void onAbort(term.signal, resolve)));
        // It resigns only once what runs here has ended, as far as the lease allows.
        await Promise.allSettled(this.#running);
        this.#term = undefined;
      }
    } catch (error) {
      this.#end = { error };
    }
  }
}

const candidacies = new WeakMap<LockManager, Map<string, Candidacy>>();

/** The candidacy of that manager for that name. Begins it, if it has not begun or was ended by a failure. */
export function candidacyOf(locks: LockManager, election: Election): Candidacy {
  let ofManager = candidacies.get(locks);
  if (!ofManager) candidacies.set(locks, (ofManager = new Map()));
  const known = ofManager.get(election.name);
  if (known && !known.hasEnded) return known;
  const next = new Candidacy(locks, election);
  ofManager.set(election.name, next);
  // The next caller learns why the last one ended.
  return known ?? next;
}
