import { Inject } from "@nestjs/common";
import type { InjectionToken } from "@nestjs/common";
import { LockManager } from "../lock-manager.ts";
import { show } from "../options/checks.ts";

/** The name under which a module's LockManager is injected: the class itself unless the module has a name. */
export function getLocksToken(name?: string): InjectionToken {
  if (name !== undefined && typeof name !== "string") {
    throw new TypeError(`Expected the name of a HoldfastModule to be a string; got ${show(name)}.`);
  }
  return name === undefined ? LockManager : `LockManager "${name}"`;
}

/**
 * Inject a LockManager.
 *
 * @param name of the module: `HoldfastModule.forRoot({ name })`; leave it out for the one without a name, for which the
 *   type `LockManager` of a constructor's parameter is enough, too
 */
export function InjectLocks(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getLocksToken(name));
}

const keys = new Map<string | undefined, symbol>();

/** Where a decorator finds the manager in an instance. */
function keyOf(name: string | undefined): symbol {
  const known = keys.get(name);
  if (known) return known;
  const key = Symbol(`locks of HoldfastModule.forRoot(${name === undefined ? "" : JSON.stringify({ name })})`);
  keys.set(name, key);
  return key;
}

/** Have Nest put the manager into each instance of the class, so that several applications can be in one process. */
export function wantLocks(prototype: object, name: string | undefined): void {
  Inject(getLocksToken(name))(prototype, keyOf(name));
}

/** @throws TypeError for an instance that Nest has not made */
export function locksIn(instance: unknown, name: string | undefined, method: string): LockManager {
  const locks = (instance as Record<symbol, unknown> | undefined)?.[keyOf(name)];
  if (locks) return locks as LockManager;
  throw new TypeError(
    `${method} has no LockManager, because Nest did not inject one into its instance. List the class among the ` +
      "providers or controllers of a module, and call the method on the instance that Nest makes.",
  );
}
