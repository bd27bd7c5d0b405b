/** A proxy between each client and each server, for faults that strike some of them. */
import type { Server } from "../../scripts/servers.ts";
import { toldPort } from "../../scripts/topologies.ts";
import { type Proxy, startProxy } from "../../test/support/proxy.ts";
import type { Address } from "../client/spec.ts";

const host = "127.0.0.1";

export class Routes {
  readonly #proxies: ReadonlyMap<string, readonly Proxy[]>;
  readonly #servers: readonly Server[];

  private constructor(servers: readonly Server[], proxies: ReadonlyMap<string, readonly Proxy[]>) {
    this.#servers = servers;
    this.#proxies = proxies;
  }

  static async open(clients: readonly string[], servers: readonly Server[]): Promise<Routes> {
    const proxies = new Map<string, readonly Proxy[]>();
    for (const client of clients) {
      proxies.set(client, await Promise.all(servers.map(({ port }) => startProxy(port))));
    }
    return new Routes(servers, proxies);
  }

  /** Of that client, or of all; to the server of that number, or to all. */
  select(client?: string, server?: number): Proxy[] {
    const chosen = client === undefined ? [...this.#proxies.values()] : [this.#of(client)];
    return chosen.flatMap((all) => all.filter((_, i) => server === undefined || i === server));
  }

  ports(client: string): number[] {
    return this.#of(client).map(({ port }) => port);
  }

  /** Where the client finds each server: by the address that the servers themselves tell. */
  map(client: string): Record<string, Address> {
    const proxies = this.#of(client);
    return Object.fromEntries(
      this.#servers.map((server, i) => [`${host}:${toldPort(server)}`, { host, port: proxies[i]!.port }]),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.select().map((proxy) => proxy.close()));
  }

  #of(client: string): readonly Proxy[] {
    const proxies = this.#proxies.get(client);
    if (!proxies) throw new Error(`There are no proxies for the client ${client}.`);
    return proxies;
  }
}
