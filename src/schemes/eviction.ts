/** Servers that may delete locks when their memory is full: reported once, on the channel `holdfast:trouble`. */
import type { Send } from "../drivers/driver.ts";
import { evictionIn } from "../drivers/info.ts";
import { SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import type { Origin } from "../events.ts";

export class EvictionReport {
  readonly #servers: () => Promise<readonly Send[]>;
  readonly #origin: Origin | undefined;
  #isDone = false;

  /** @param servers each that keeps locks */
  constructor(servers: () => Promise<readonly Send[]>, origin: Origin | undefined) {
    this.#servers = servers;
    this.#origin = origin;
  }

  /** Ask each server, if somebody listens, and once only. A server that does not say is not asked again. */
  look(): void {
    if (this.#isDone || !this.#origin || !events.isTroubleHeard) return;
    this.#isDone = true;
    this.#examine().catch(() => {});
  }

  async #examine(): Promise<void> {
    for (const send of await this.#servers()) {
      const info = String(await send(["INFO", "memory"]).catch(() => ""));
      const found = evictionIn((name) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1]);
      if (!found?.takesLocks) continue;
      const { policy, limit } = found;
      const message =
        `The server may evict locks that are held: its maxmemory-policy is ${policy}, at a limit of ${limit} bytes, and every ` +
        'lock has a ttl. Set maxmemory-policy to "noeviction", or keep locks on a server of their own.';
      events.trouble(
        "examine",
        new SchemeError("evicts", message, []),
        NO_LOCK,
        { origin: this.#origin as Origin },
        undefined,
      );
      return;
    }
  }
}

/** It concerns all locks. */
const NO_LOCK = { lock: "", token: "" };
