import { systemClock } from "../../clock.ts";
import { LockError } from "../../errors.ts";
import { MemoryStore } from "./store.ts";

/**
 * Where all copies of this module look: a program may have loaded it twice, from two installed versions or two bundles.
 */
const SHARED = Symbol.for("holdfast.memory");

/**
 * The version of the store, its records and its listeners, as a scheme of another copy sees them. If you change them in
 * a way that an older copy would not understand, add one.
 */
const VERSION = 1;

interface Shared {
  readonly version: number;
  readonly store: MemoryStore;
}

/**
 * Locks without a server: all managers of this process that were made without a client share them. Worker threads have
 * a process of their own in this sense.
 *
 * @throws LockError `unsupported` if another copy has a store that this one does not understand
 */
export function processStore(): MemoryStore {
  const { [SHARED]: shared = share() } = globalThis as { readonly [SHARED]?: Shared };
  if (shared.version === VERSION) return shared.store;
  throw new LockError(
    "unsupported",
    "Two copies of holdfast are loaded in this process, and their locks in memory would not exclude one another: " +
      `theirs have version ${shared.version}, ours ${VERSION}. Install one version only, or give the managers a Redis client.`,
  );
}

function share(): Shared {
  const value: Shared = { version: VERSION, store: new MemoryStore(systemClock) };
  Object.defineProperty(globalThis, SHARED, { value, configurable: true });
  return value;
}
