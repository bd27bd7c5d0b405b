/** A Cluster of three primaries with a replica each. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../../scripts/servers.ts";
import { addressOf, busPort, type Cluster, type ClusterNode, startCluster } from "../../scripts/topologies.ts";
import { type Proxy, startProxy } from "../../test/support/proxy.ts";
import type { Way } from "../client/spec.ts";
import type { Plan } from "../plan/plan.ts";
import { Routes } from "./routes.ts";
import type { Failovers, Topology } from "./topology.ts";

export async function openCluster({ clients }: Plan): Promise<Topology> {
  // Nodes reach each other through proxies, which no client uses: one for commands, one for what they tell each other.
  const fronts = new Map<number, Proxy>();
  const front = async (port: number): Promise<number> => {
    const proxy = await startProxy(port);
    fronts.set(port, proxy);
    return proxy.port;
  };
  const cluster = await startCluster({ front });
  const names = clients.map(({ name }) => name);
  return new Clustered(cluster, await Routes.open(names, cluster.servers), fronts);
}

class Clustered implements Topology, Failovers {
  readonly routes: Routes;
  readonly hasDisk = false;
  readonly maySpare = 1;
  readonly isCoordinated = true;
  readonly failovers = this;
  readonly #cluster: Cluster;
  /** Between the nodes, by the port that is reached. */
  readonly #fronts: ReadonlyMap<number, Proxy>;

  constructor(cluster: Cluster, routes: Routes, fronts: ReadonlyMap<number, Proxy>) {
    this.#cluster = cluster;
    this.routes = routes;
    this.#fronts = fronts;
  }

  get servers(): readonly Server[] {
    return this.#cluster.servers;
  }

  way(client: string): Way {
    return { kind: "cluster", seeds: this.#cluster.seeds, map: this.routes.map(client) };
  }

  async primaries(): Promise<readonly Server[]> {
    return (await this.#cluster.masters()).map(({ server }) => server);
  }

  async restored(): Promise<void> {
    await this.#cluster.settle();
  }

  async failOver(lock: string): Promise<void> {
    const { replica } = await this.#pairOf(lock);
    await this.#cluster.failover(replica);
    await this.#cluster.settle();
  }

  async killPrimary(lock: string, time: number): Promise<void> {
    const { primary, replica } = await this.#pairOf(lock);
    await primary.server.crash();
    await this.#cluster.promoted(replica);
    await sleep(time);
    await primary.server.start();
    await this.#cluster.settle();
  }

  async zombiePrimary(lock: string, time: number): Promise<void> {
    const { primary, replica } = await this.#pairOf(lock);
    primary.server.freeze();
    try {
      await this.#cluster.promoted(replica, [primary.server]);
      await sleep(time);
    } finally {
      primary.server.thaw();
    }
    await this.#cluster.settle();
  }

  async cutOffPrimary(lock: string, time: number): Promise<void> {
    const { primary, replica } = await this.#pairOf(lock);
    const { server } = primary;
    for (const each of this.servers) {
      this.#fronts.get(busPort(each))!.blackHole(each === server ? undefined : addressOf(server));
    }
    this.#fronts.get(server.port)!.blackHole();
    try {
      await this.#cluster.promoted(replica, [server]);
      await sleep(time);
    } finally {
      await Promise.all([...this.#fronts.values()].map((front) => front.heal()));
    }
    await this.#cluster.settle();
  }

  async moveSlot(lock: string): Promise<void> {
    const slot = await this.#cluster.slotOf(`lock:${lock}`);
    const owner = await this.#cluster.ownerOf(slot);
    const others = (await this.#cluster.masters()).filter(({ id, slots }) => id !== owner.id && slots.length > 0);
    await this.#cluster.moveSlot(slot, others[slot % others.length]!);
  }

  async stop(): Promise<void> {
    await this.routes.close();
    await this.#cluster.stop();
    await Promise.all([...this.#fronts.values()].map((front) => front.close()));
  }

  async #pairOf(lock: string): Promise<{ primary: ClusterNode; replica: ClusterNode }> {
    const primary = await this.#cluster.ownerOf(await this.#cluster.slotOf(`lock:${lock}`));
    const [replica] = await this.#cluster.replicasOf(primary);
    if (!replica) throw new Error(`${primary.server.url} has no replica.`);
    return { primary, replica };
  }
}
