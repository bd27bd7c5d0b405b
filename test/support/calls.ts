/** Calls of a scheme as promises. */
import type { Caller } from "../../src/caller.ts";
import type { Wish } from "../../src/durability.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  LockRequest,
  Question,
  Release,
  Scheme,
} from "../../src/schemes/scheme.ts";

function called<T>(call: (caller: Caller<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => call({ answered: resolve, failed: reject }));
}

/** What a test asks for: a request, and what of a question it wants other than usual. */
export type Asking = LockRequest &
  Partial<Pick<Question, "waiting" | "fences" | "askedAt" | "opens">> & { ticket?: string | undefined };

/** The scheme's ticket is written into what was asked for. */
export function ask(scheme: Scheme, asking: Asking, wait: boolean): Promise<Answer> {
  const { lock, token, mode, ttl, label, permits, limit, maxQueue, durability } = asking;
  const { waiting = 1, fences = 1, askedAt = 0, opens = false } = asking;
  const request = { lock, token, mode, ttl, label, permits, limit, maxQueue, durability };
  return called((caller) =>
    scheme.acquire({
      ...request,
      waiting,
      fences,
      askedAt,
      opens,
      wait,
      isSent: false,
      get ticket() {
        return asking.ticket;
      },
      set ticket(ticket) {
        asking.ticket = ticket;
      },
      ...caller,
    }),
  );
}

export function extend(scheme: Scheme, grant: Grant, ttl: number, wish?: Wish): Promise<Extension> {
  return called((caller) => scheme.extend(grant, ttl, wish, caller));
}

export function release(scheme: Scheme, over: Pick<Farewell, "lock" | "token"> & Partial<Farewell>): Promise<Release> {
  const { lock, token, mode, fence } = over;
  return called((caller) => scheme.release({ lock, token, mode, fence, isBehind: false, ...caller }));
}
