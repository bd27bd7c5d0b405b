/** A Redis Cluster. */
import type { Server, ServerOptions } from "../servers.ts";
import { answerTimeoutMs, ask, facts, host, isLinked, settled } from "./asking.ts";
import { asNode, toldBusPort, toldPort } from "./fronts.ts";
import {
  type Address,
  type MemberOptions,
  quickSync,
  ready,
  startAll,
  startWith,
  Topology,
  withArgs,
} from "./topology.ts";

const slotCount = 16_384;

export interface ClusterOptions extends MemberOptions {
  /** Nodes that have slots, in equal parts (default 3). */
  masters?: number;
  /** Replicas of each (default 1). */
  replicasEach?: number;
  /** How long a node must be silent to count as down, in milliseconds (default 1000). */
  nodeTimeout?: number;
}

/** A node as the cluster sees it now. */
export interface ClusterNode {
  readonly server: Server;
  readonly id: string;
  readonly role: "master" | "replica";
  /** Of a replica: the id of its master. */
  readonly masterId: string | undefined;
  /** The slots that it has: from and to. */
  readonly slots: readonly (readonly [number, number])[];
}

export interface MoveOptions {
  /**
   * Leave the slot open, when those of its keys have moved for which this says true (`true`: all). Move it to the same
   * node again to finish.
   */
  halfWay?: true | ((key: string) => boolean);
}

export class Cluster extends Topology {
  readonly servers: readonly Server[];

  constructor(servers: readonly Server[]) {
    super();
    this.servers = servers;
  }

  get urls(): string[] {
    return this.servers.map(({ url }) => url);
  }

  /** Where a client can ask for the rest. */
  get seeds(): Address[] {
    return this.servers.map((server) => ({ host, port: toldPort(server) }));
  }

  /** All nodes, as one that answers sees them. */
  async nodes(): Promise<ClusterNode[]> {
    const views = this.#running.map((server) => this.#view(server));
    return Promise.any(views);
  }

  async masters(): Promise<ClusterNode[]> {
    return (await this.nodes()).filter(({ role }) => role === "master");
  }

  async replicasOf({ id }: ClusterNode): Promise<ClusterNode[]> {
    return (await this.nodes()).filter(({ masterId }) => masterId === id);
  }

  /** The node that has the slot now. */
  async ownerOf(slot: number): Promise<ClusterNode> {
    const owner = (await this.nodes()).find(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to));
    if (!owner) throw new Error(`No node has the slot ${slot}.`);
    return owner;
  }

  /** The slot of a key. */
  async slotOf(key: string): Promise<number> {
    return Number(await Promise.any(this.#running.map((server) => ask(server, "CLUSTER", "KEYSLOT", key))));
  }

  /** Moves a slot and its keys to another master. */
  async moveSlot(slot: number, to: ClusterNode, { halfWay }: MoveOptions = {}): Promise<void> {
    const from = await this.ownerOf(slot);
    if (from.id === to.id) throw new Error(`The slot ${slot} is on ${to.server.url} already.`);
    await ask(to.server, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.id);
    await ask(from.server, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.id);
    const wanted = typeof halfWay === "function" ? halfWay : (): boolean => true;
    // Those that come while it is open and are made anew go to the new node, so that this comes to an end.
    for (
      let keys = await keysIn(from.server, slot, wanted);
      keys.length > 0;
      keys = await keysIn(from.server, slot, wanted)
    ) {
      await ask(from.server, "MIGRATE", host, to.server.port, "", 0, answerTimeoutMs, "KEYS", ...keys);
    }
    if (halfWay) return;
    // The new owner first: should the others hear of it from each other, it is true by then.
    await ask(to.server, "CLUSTER", "SETSLOT", slot, "NODE", to.id);
    for (const { server } of await this.masters()) {
      if (server.isRunning) await ask(server, "CLUSTER", "SETSLOT", slot, "NODE", to.id);
    }
    const known = async (server: Server): Promise<boolean> =>
      (await this.#view(server)).some(
        (each) => each.id === to.id && each.slots.some(([a, b]) => a <= slot && slot <= b),
      );
    for (const server of this.#running) await settled(() => known(server), `${server.url} knew who has slot ${slot}`);
  }

  /** Makes a replica the master of its slots, and resolves when every node that answers knows. */
  async failover(replica: ClusterNode, how?: "FORCE" | "TAKEOVER"): Promise<void> {
    if (replica.role !== "replica")
      throw new Error(`Expected a replica to promote; ${replica.server.url} is a master.`);
    // Refused while its link to the master is down; forgotten when the master does not answer in time.
    await ask(replica.server, "CLUSTER", "FAILOVER", ...(how ? [how] : []));
    await this.promoted(replica);
  }

  /** Waits until every node that runs, but for those that are frozen, sees this one as a master with slots. */
  async promoted({ id }: ClusterNode, frozen: readonly Server[] = []): Promise<void> {
    const seen = async (server: Server): Promise<boolean> =>
      (await this.#view(server)).some((each) => each.id === id && each.role === "master" && each.slots.length > 0);
    const awake = this.#running.filter((server) => !frozen.includes(server));
    for (const server of awake) await settled(() => seen(server), `${server.url} saw that ${id} was promoted`);
  }

  /** Waits until every node that runs says that all is well, and every replica that runs is linked. */
  async settle(): Promise<void> {
    const well = async (server: Server): Promise<boolean> => {
      const { cluster_state, cluster_known_nodes } = await facts(server, "CLUSTER", "INFO");
      return cluster_state === "ok" && Number(cluster_known_nodes) === this.servers.length;
    };
    for (const server of this.#running) await settled(() => well(server), `the cluster was well for ${server.url}`);
    // A master that was replaced has no slots until it has learned which master to copy.
    const placed = async (server: Server): Promise<boolean> => {
      const nodes = (await this.#view(server)).filter((each) => each.server.isRunning);
      const links = nodes.map(async ({ server: replica, role, slots, masterId }) => {
        const master = nodes.find(({ id }) => id === masterId)?.server;
        return role === "master" ? slots.length > 0 : master !== undefined && (await isLinked(replica, master));
      });
      return (await Promise.all(links)).every(Boolean);
    };
    for (const server of this.#running) await settled(() => placed(server), `${server.url} saw all replicas linked`);
  }

  /** Makes a cluster of nodes that do not know each other: the first ones get the slots, the others copy them. */
  async create(masters: number): Promise<void> {
    const [first, ...others] = this.servers as [Server, ...Server[]];
    // Nodes with the same epoch have to find out who yields.
    await Promise.all(this.servers.map((server, i) => ask(server, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)));
    await Promise.all(this.servers.slice(0, masters).map((server, i) => addSlots(server, share(i, masters))));
    for (const other of others) await ask(first, "CLUSTER", "MEET", host, toldPort(other), toldBusPort(other));
    const met = async (server: Server): Promise<boolean> => (await this.#view(server)).length === this.servers.length;
    for (const server of this.servers) await settled(() => met(server), `${server.url} knew all nodes`);
    const ids = await Promise.all(this.servers.map(idOf));
    const replicas = this.servers.slice(masters);
    await Promise.all(replicas.map((each, i) => ask(each, "CLUSTER", "REPLICATE", ids[i % masters] as string)));
    const ranked = async (server: Server): Promise<boolean> =>
      (await this.#view(server)).filter(({ role }) => role === "replica").length === replicas.length;
    for (const server of this.servers) await settled(() => ranked(server), `${server.url} knew who copies whom`);
    await this.settle();
  }

  get #running(): Server[] {
    return this.servers.filter(({ isRunning }) => isRunning);
  }

  /** What a node says of all; without those that it has only been told to meet. */
  async #view(server: Server): Promise<ClusterNode[]> {
    const lines = String(await ask(server, "CLUSTER", "NODES"))
      .trim()
      .split("\n");
    return lines.flatMap((line) => {
      const [id = "", address = "", flags = "", masterId = "", , , , , ...ranges] = line.split(" ");
      const port = Number(/:(\d+)@/.exec(address)?.[1]);
      const seen = this.servers.find((each) => toldPort(each) === port);
      if (!seen || flags.includes("handshake")) return [];
      const role = flags.includes("slave") ? ("replica" as const) : ("master" as const);
      const slots = ranges.filter((range) => !range.startsWith("[")).map(readRange);
      return [{ server: seen, id, role, masterId: role === "replica" ? masterId : undefined, slots }];
    });
  }
}

function readRange(range: string): [number, number] {
  const [from, to = from] = range.split("-").map(Number) as [number, number?];
  return [from, to];
}

async function idOf(server: Server): Promise<string> {
  return String(await ask(server, "CLUSTER", "MYID"));
}

/** The slots of the i-th of that many masters. */
function share(i: number, masters: number): [number, number] {
  return [Math.ceil((i * slotCount) / masters), Math.ceil(((i + 1) * slotCount) / masters) - 1];
}

async function addSlots(server: Server, [from, to]: [number, number]): Promise<void> {
  try {
    await ask(server, "CLUSTER", "ADDSLOTSRANGE", from, to);
  } catch {
    // Unknown before 7.0.
    await ask(server, "CLUSTER", "ADDSLOTS", ...Array.from({ length: to - from + 1 }, (_, i) => from + i));
  }
}

async function keysIn(server: Server, slot: number, wanted: (key: string) => boolean): Promise<string[]> {
  const keys = (await ask(server, "CLUSTER", "GETKEYSINSLOT", slot, 10_000)) as string[];
  return keys.filter(wanted);
}

/** Nodes talk to each other on their port + 10000, which has to stay below the range of outgoing connections too. */
function clusterPort(): number {
  return 20_000 + Math.floor(Math.random() * 2_700);
}

/** Starts a cluster, and waits until all nodes say that it is well and all replicas are linked. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { masters = 3, replicasEach = 1, nodeTimeout = 1_000, ...each } = options;
  const flags = ["--cluster-enabled", "yes", "--cluster-node-timeout", `${nodeTimeout}`];
  const node: ServerOptions = { ...withArgs(each, [...quickSync, ...flags], asNode), drawPort: clusterPort };
  const count = masters * (1 + replicasEach);
  const cluster = new Cluster(
    await startAll(Array.from({ length: count }, () => () => startWith(each.password, node))),
  );
  return ready(cluster, () => cluster.create(masters));
}
