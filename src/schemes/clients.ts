/**
 * The managers' labels, shown to people: each is kept under its own key beside the locks.
 * Nothing depends on them; if the server refuses, labels are empty.
 */
import type { Clock } from "../clock.ts";
import type { Send } from "../drivers/driver.ts";
import type { Origin } from "../events.ts";
import { EvictionReport } from "./eviction.ts";
import { clientKey } from "./keys.ts";
import type { HolderState, LockState, WaiterState } from "./scheme.ts";

/** How long a label outlasts the leases it explains. */
const LABEL_MARGIN = 60_000;

export interface ClientSettings {
  readonly prefix: string;
  readonly clientId: string;
  readonly label: string;
  /** Of what is reported; nothing is without it. */
  readonly origin?: Origin;
}

export class Clients {
  readonly #send: Send;
  readonly #clock: Clock;
  readonly #settings: ClientSettings;
  readonly #eviction: EvictionReport;
  #announcedUntil = -Infinity;

  /** @param servers each that keeps locks */
  constructor(send: Send, clock: Clock, settings: ClientSettings, servers: () => Promise<readonly Send[]>) {
    this.#send = send;
    this.#clock = clock;
    this.#settings = settings;
    this.#eviction = new EvictionReport(servers, settings.origin);
  }

  /** Ensures that our label lasts at least ttl milliseconds from now. Sends at most one command a minute. */
  announce(ttl: number): void {
    const now = this.#clock.now();
    if (this.#announcedUntil >= now + ttl) return;
    this.#announcedUntil = now + ttl + LABEL_MARGIN;
    this.#eviction.look();
    const { prefix, clientId, label } = this.#settings;
    const key = clientKey(prefix, clientId);
    this.#send(["SET", key, label, "PX", String(ttl + LABEL_MARGIN)], key).catch(() => {});
  }

  /** Removes our label when we close. */
  async forget(): Promise<void> {
    if (this.#announcedUntil === -Infinity) return;
    const key = clientKey(this.#settings.prefix, this.#settings.clientId);
    await this.#send(["DEL", key], key).catch(() => {});
  }

  /** With the labels of the managers that hold and wait, as far as they are known. */
  async labelled(states: readonly LockState[]): Promise<LockState[]> {
    const tokens = states.flatMap(({ holders, waiters }) => [...holders, ...waiters].map(({ token }) => token));
    const labels = await this.#labels(new Set(tokens.flatMap((token) => (token === undefined ? [] : clientOf(token)))));
    const labelled = <T extends HolderState | WaiterState>(each: T): T => {
      const clientLabel = labels.get(clientOf(each.token ?? "")) ?? "";
      return { ...each, label: each.label || clientLabel, clientLabel };
    };
    return states.map((state) => ({
      ...state,
      holders: state.holders.map(labelled),
      waiters: state.waiters.map(labelled),
    }));
  }

  async #labels(ids: Iterable<string>): Promise<Map<string, string>> {
    const labels = new Map<string, string>();
    await Promise.all(
      Array.from(ids, async (id) => {
        const key = clientKey(this.#settings.prefix, id);
        const label = await this.#send(["GET", key], key).catch(() => undefined);
        if (label !== null && label !== undefined) labels.set(id, String(label));
      }),
    );
    return labels;
  }
}

function clientOf(token: string): string {
  return token.slice(0, token.indexOf(":"));
}
