import { AsyncLocalStorage } from "node:async_hooks";
import type { Lock } from "../lock.ts";
import type { Term } from "../primitives/election.ts";

const current = new AsyncLocalStorage<Lock | Term>();

/** Run as the method under that lock, or in that term. */
export function under<T>(held: Lock | Term, run: () => T): T {
  return current.run(held, run);
}

/**
 * The lock of the innermost method with `@WithLock` or `@RunOnce` that runs in this async context, or the term of one
 * with `@WhileLeader`: for its `signal` and its `fence`.
 *
 * @throws TypeError outside of such a method
 */
export function currentLock(): Lock | Term {
  const held = current.getStore();
  if (held) return held;
  throw new TypeError(
    "No lock is held here. Call currentLock() while a method with @WithLock, @RunOnce or @WhileLeader runs.",
  );
}
