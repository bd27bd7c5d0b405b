import type { AsyncLocalStorage } from "node:async_hooks";
import { unsupported } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";
import { builtin } from "../runtime.ts";

type Holdings = ReadonlyMap<string, Holding>;
type Storage = AsyncLocalStorage<ReadonlyMap<Contexts, Holdings>>;

/** One for all managers, because Node never forgets one that was used. */
let shared: Storage | undefined;

/**
 * Which locks of one manager the running code is under. Follows callbacks through everything asynchronous. It makes all
 * promises of the process a little slower, so it is created only if an option asks for it.
 */
export class Contexts {
  readonly #storage = (shared ??= newStorage());

  /** The hold of that lock by the innermost callback around the running code. */
  of(lock: string): Holding | undefined {
    return this.#storage.getStore()?.get(this)?.get(lock);
  }

  run<T>(holdings: readonly Holding[], callback: () => T): T {
    const around = this.#storage.getStore();
    const own = new Map(around?.get(this));
    for (const holding of holdings) own.set(holding.grant.lock, holding);
    return this.#storage.run(new Map(around).set(this, own), callback);
  }
}

/** @throws LockError `unsupported` if the runtime has no async contexts */
function newStorage(): Storage {
  const { AsyncLocalStorage: Storage } = builtin("node:async_hooks") ?? {};
  if (Storage) return new Storage();
  const remedy = "Leave reentrant, trackContext and detectDeadlocks out.";
  throw unsupported("This runtime has no AsyncLocalStorage, so nobody can tell which code runs under a lock", remedy);
}
