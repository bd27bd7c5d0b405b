/** A primary with two replicas, and three Sentinels that promote one of them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../../scripts/servers.ts";
import { type Sentinels, startSentinels } from "../../scripts/topologies.ts";
import { type Proxy, startProxy } from "../../test/support/proxy.ts";
import type { Way } from "../client/spec.ts";
import type { Plan } from "../plan/plan.ts";
import { Routes } from "./routes.ts";
import type { Failovers, Topology } from "./topology.ts";

export async function openSentinel({ clients }: Plan): Promise<Topology> {
  // Replicas and Sentinels reach each server through a proxy, which no client uses.
  const fronts = new Map<number, Proxy>();
  const front = async (port: number): Promise<number> => {
    const proxy = await startProxy(port);
    fronts.set(port, proxy);
    return proxy.port;
  };
  const sentinels = await startSentinels({ replicas: 2, front });
  const names = clients.map(({ name }) => name);
  return new Watched(sentinels, await Routes.open(names, sentinels.members), fronts);
}

class Watched implements Topology, Failovers {
  readonly routes: Routes;
  readonly hasDisk = false;
  readonly maySpare = 1;
  readonly isCoordinated = false;
  readonly failovers = this;
  readonly #sentinels: Sentinels;
  /** Between the servers, by the port of the one that is reached. */
  readonly #fronts: ReadonlyMap<number, Proxy>;

  constructor(sentinels: Sentinels, routes: Routes, fronts: ReadonlyMap<number, Proxy>) {
    this.#sentinels = sentinels;
    this.routes = routes;
    this.#fronts = fronts;
  }

  get servers(): readonly Server[] {
    return this.#sentinels.members;
  }

  way(client: string): Way {
    return { kind: "sentinel", seeds: this.#sentinels.addresses, map: this.routes.map(client) };
  }

  async primaries(): Promise<readonly Server[]> {
    return [await this.#sentinels.master()];
  }

  async restored(): Promise<void> {
    await this.#sentinels.settle();
  }

  async failOver(): Promise<void> {
    await this.#sentinels.failover();
    await this.#sentinels.settle();
  }

  async killPrimary(_lock: string, time: number): Promise<void> {
    const primary = await this.#sentinels.master();
    await primary.crash();
    await this.#sentinels.promoted(primary);
    await sleep(time);
    await primary.start();
    await this.#sentinels.settle();
  }

  async zombiePrimary(_lock: string, time: number): Promise<void> {
    const primary = await this.#sentinels.master();
    primary.freeze();
    try {
      await this.#sentinels.promoted(primary);
      await sleep(time);
    } finally {
      primary.thaw();
    }
    await this.#sentinels.settle();
  }

  async cutOffPrimary(_lock: string, time: number): Promise<void> {
    const primary = await this.#sentinels.master();
    const front = this.#fronts.get(primary.port)!;
    front.blackHole();
    try {
      await this.#sentinels.promoted(primary);
      await sleep(time);
    } finally {
      await front.heal();
    }
    await this.#sentinels.settle();
  }

  async stop(): Promise<void> {
    await this.routes.close();
    await this.#sentinels.stop();
    await Promise.all([...this.#fronts.values()].map((front) => front.close()));
  }
}
