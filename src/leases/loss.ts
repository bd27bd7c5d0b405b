import type { LockLostError } from "../errors.ts";
import { currentContext, inContext } from "../events.ts";
import type { Context } from "../events.ts";

/** Notifies everyone who must know that a lease has been lost. Made when somebody asks for it, or when it happens. */
export class Loss {
  /** Set once the lease has been lost. */
  error: LockLostError | undefined;
  /** Why the signal is aborted although the lease runs: its manager is closing. */
  #closing: LockLostError | undefined;
  #abort: AbortController | undefined;
  #abortContext: Context;
  #listener: ((error: LockLostError) => void) | undefined;
  /** Callers that wait for an extension, and are notified at once. */
  #extending: Set<(error: LockLostError) => void> | undefined;

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      this.#abortContext = currentContext();
      const reason = this.error ?? this.#closing;
      if (reason) this.#abort.abort(reason);
    }
    return this.#abort.signal;
  }

  /** At most one listener. */
  listen(listener: (error: LockLostError) => void): void {
    this.#listener = listener;
    if (this.error) listener(this.error);
  }

  /** Settles as `extend` decides, or rejects if the lease is lost before that. */
  async during(extend: (resolve: () => void, reject: (error: unknown) => void) => void): Promise<void> {
    const extending = (this.#extending ??= new Set());
    let stop: (error: LockLostError) => void;
    try {
      await new Promise<void>((resolve, reject) => {
        extending.add((stop = reject));
        extend(resolve, reject);
      });
    } finally {
      extending.delete(stop!);
    }
  }

  close(error: LockLostError): void {
    this.#closing = error;
    this.#tellSignal(error);
  }

  tell(error: LockLostError): void {
    this.error = error;
    this.#tellSignal(error);
    this.#listener?.(error);
    for (const stop of this.#extending ?? []) stop(error);
  }

  #tellSignal(reason: LockLostError): void {
    const abort = this.#abort;
    if (abort) inContext(this.#abortContext, () => abort.abort(reason));
  }
}
