import type { Clock } from "../clock.ts";
import type { Driver } from "../drivers/driver.ts";
import { driverFor } from "../drivers/index.ts";
import { checkNodes } from "../options/nodes.ts";
import { refuseDurability } from "../options/durability.ts";
import { refuseNodeOptions } from "../options/manager.ts";
import { show } from "../options/checks.ts";
import type { CheckedManagerOptions } from "../options/manager.ts";
import type { Scheme } from "./scheme.ts";
import { LuaScheme } from "./lua.ts";
import { MemoryScheme, MemoryStore } from "./memory.ts";
import { processStore } from "./memory/process-store.ts";
import { RedlockScheme } from "./redlock.ts";
import { SetScheme } from "./set.ts";

export interface SchemeSettings {
  readonly clientId: string;
  readonly label: string;
  readonly clock: Clock;
}

/** @throws TypeError if client and scheme do not fit together, or the client is not of a known kind. */
export function openScheme(client: unknown, options: CheckedManagerOptions, settings: SchemeSettings): Scheme {
  const { scheme, prefix, durability } = options;
  const { clientId, label } = settings;
  const terms = { prefix, clientId, label };
  if (!Array.isArray(client)) refuseNodeOptions(options);
  if (client === undefined) {
    if (scheme && scheme !== "memory") {
      throw new TypeError(`Expected a Redis client as the first argument for the scheme "${scheme}"; got none.`);
    }
    refuseDurability("memory", durability);
    return new MemoryScheme(processStore(), terms);
  }
  if (client instanceof MemoryStore) {
    refuseDurability("memory", durability);
    return new MemoryScheme(client, terms);
  }
  if (Array.isArray(client)) {
    if (scheme && scheme !== "redlock") {
      throw new TypeError(
        `Expected one Redis client for the scheme "${scheme}"; got ${show(client)}. Over several servers there is "redlock".`,
      );
    }
    refuseDurability("redlock", durability);
    const { ttl, nodeTimeout, delayRestarted = true } = options;
    const drivers = nodeDrivers(client);
    const nodes = { ttl, nodeTimeout, delayRestarted, prefix: `${drivers[0]?.keyPrefix}${prefix}` };
    return new RedlockScheme(drivers, settings.clock, {
      ...terms,
      ...nodes,
      origin: { scheme: "redlock", prefix, label },
    });
  }
  if (scheme === "redlock") {
    throw new TypeError(
      'Expected an array of Redis clients, each of an independent server, for the scheme "redlock"; got one client.',
    );
  }
  if (scheme === "memory") throw new TypeError('Expected no client for the scheme "memory"; got one. Leave it out.');
  const driver = driverFor(client);
  const origin = { scheme: scheme ?? ("lua" as const), prefix, label };
  const own = { ...terms, prefix: driver.keyPrefix + prefix, origin };
  if (scheme === "set" && driver.client === "upstash") {
    driver.close();
    throw new TypeError(
      'Expected another client for the scheme "set", which needs WATCH; got @upstash/redis. Leave scheme out.',
    );
  }
  if (scheme === "set") return new SetScheme(driver, settings.clock, own);
  return new LuaScheme(driver, settings.clock, own);
}

/** Nothing is left on any client when one of them is refused. */
function nodeDrivers(clients: readonly unknown[]): Driver[] {
  const drivers: Driver[] = [];
  try {
    for (const client of new Set(clients)) drivers.push(driverFor(client, { watchServer: true }));
    checkNodes(clients, drivers);
    if (drivers.some(({ client }) => client === "upstash")) {
      throw new TypeError(
        "Expected clients with connections of their own for Redlock; got @upstash/redis, which uses HTTP.",
      );
    }
    return drivers;
  } catch (error) {
    for (const driver of drivers) driver.close();
    throw error;
  }
}
