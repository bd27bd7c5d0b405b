import type { LockLostError } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";

/**
 * Settles as `run` does, and releases then; rejects if the lock was lost under a callback that succeeded. If it was lost
 * before, nothing runs.
 */
export function holdDuring<T>(
  holding: Pick<Holding, "error" | "onLost" | "release" | "guard">,
  run: () => Promise<T>,
): Promise<T> {
  holding.guard();
  return new Promise((resolve, reject) => {
    // The specification settles a stolen request at once, even if its callback still runs. So does the end of
    // `close()`.
    const settles = (error: LockLostError | undefined): error is LockLostError =>
      error?.reason === "stolen" || error?.reason === "closed";
    holding.onLost((error) => settles(error) && reject(webLocksError(error)));
    if (holding.error) return reject(webLocksError(holding.error));
    run().then(
      async (value) => {
        await holding.release();
        if (holding.error) reject(webLocksError(holding.error));
        else resolve(value);
      },
      async (error: unknown) => {
        await holding.release();
        reject(error);
      },
    );
  });
}

/** The error that the Web Locks specification requires for a stolen request; our own error is its cause. */
function webLocksError(error: LockLostError): Error {
  if (error.reason !== "stolen") return error;
  return new DOMException(error.message, { name: "AbortError", cause: error });
}
