import { LockLostError } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";

/**
 * Settles as `run` does, and releases then; rejects if the lock was lost under a callback that succeeded. If it is lost
 * before, nothing runs.
 */
export function holdDuring<T>(
  holding: Pick<Holding, "held" | "error" | "extend" | "onLost" | "release" | "guard">,
  run: () => Promise<T>,
): Promise<T> {
  holding.guard();
  if (holding.held) return settleWith(holding, run);
  // The event loop was blocked, and an extension that was requested in time may have been answered meanwhile.
  return holding.extend().then(
    () => settleWith(holding, run),
    async (error: unknown) => {
      await holding.release();
      throw error instanceof LockLostError ? webLocksError(error) : error;
    },
  );
}

function settleWith<T>(holding: Pick<Holding, "error" | "onLost" | "release">, run: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // The specification settles a stolen request at once, even if its callback still runs. So does the end of
    // `close()`.
    const settles = (error: LockLostError | undefined): error is LockLostError =>
      error?.reason === "stolen" || error?.reason === "closed";
    holding.onLost((error) => settles(error) && reject(webLocksError(error)));
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
