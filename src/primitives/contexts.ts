import type { AsyncLocalStorage } from "node:async_hooks";
import { unsupported } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";
import { builtin } from "../runtime.ts";

type Holdings = ReadonlyMap<string, Holding>;

/**
 * Which locks of one manager the running code is under. Follows callbacks through everything asynchronous. It makes all
 * promises of the process a little slower, so it is created only if an option asks for it.
 */
export class Contexts {
  readonly #storage = newStorage();

  /** The hold of that lock by the innermost callback around the running code. */
  of(lock: string): Holding | undefined {
    return this.#storage.getStore()?.get(lock);
  }

  run<T>(holdings: readonly Holding[], callback: () => T): T {
    const context = new Map(this.#storage.getStore());
    for (const holding of holdings) context.set(holding.grant.lock, holding);
    return this.#storage.run(context, callback);
  }
}

/** @throws LockError `unsupported` if the runtime has no async contexts */
function newStorage(): AsyncLocalStorage<Holdings> {
  const { AsyncLocalStorage: Storage } = builtin("node:async_hooks") ?? {};
  if (Storage) return new Storage();
  const remedy = "Leave reentrant, trackContext and detectDeadlocks out.";
  throw unsupported("This runtime has no AsyncLocalStorage, so nobody can tell which code runs under a lock", remedy);
}
