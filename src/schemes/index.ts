import { systemClock } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { driverFor } from "../drivers/index.ts";
import { show } from "../options.ts";
import type { CheckedManagerOptions } from "../options.ts";
import type { Scheme } from "../scheme.ts";
import { LuaScheme } from "./lua.ts";
import { MemoryScheme, MemoryStore } from "./memory.ts";
import { SetScheme } from "./set.ts";
import { Turns } from "./turns.ts";

/** Locks without a server: every manager of this process that was made without a client shares them. */
const processStore = new MemoryStore(systemClock);

export interface SchemeSettings {
  readonly clientId: string;
  readonly label: string;
  readonly clock: Clock;
}

/** @throws TypeError when client and scheme do not fit, or the client is of no known kind. */
export function openScheme(client: unknown, options: CheckedManagerOptions, settings: SchemeSettings): Scheme {
  const { scheme, prefix, turn } = options;
  const terms = { prefix, clientId: settings.clientId, label: settings.label };
  if (client === undefined) {
    if (scheme && scheme !== "memory") {
      throw new TypeError(`Expected a Redis client as the first argument for the scheme "${scheme}"; got none.`);
    }
    return new MemoryScheme(processStore, terms);
  }
  if (client instanceof MemoryStore) return new MemoryScheme(client, terms);
  if (Array.isArray(client)) {
    throw new TypeError(
      `Expected one Redis client; got ${show(client)}. Locks over several independent servers are not offered.`,
    );
  }
  if (scheme === "memory") throw new TypeError('Expected no client for the scheme "memory"; got one. Leave it out.');
  const driver = driverFor(client);
  if (scheme === "set") return new SetScheme(driver, settings.clock, terms);
  const lua = new LuaScheme(driver, settings.clock, terms);
  return turn > 1 ? new Turns(lua, settings.clock, turn) : lua;
}
