// Servers that belong together, for tests: replicas, Sentinels, a Cluster, TLS. All on loopback, all stopped as one.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import {
  ensureOpenssl,
  type Place,
  type Server,
  type ServerOptions,
  findServerBinary,
  startServer,
} from "./servers.ts";

const run = promisify(execFile);

const host = "127.0.0.1";
const settleTimeoutMs = 20_000;
const answerTimeoutMs = 2_000;
const pollMs = 20;
const slotCount = 16_384;

/** Where a client can ask for the rest. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Of every topology: `args` and `binary` of each of its servers. */
export interface MemberOptions extends Pick<ServerOptions, "args" | "binary"> {
  /** Of the default user, on each of them. */
  password?: string;
  /**
   * Opens a way to this port of a server, and resolves with the way's own port: the other servers, and clients that ask
   * them, are told that one. A node of a Cluster has two of them, and calls others from an address of its own
   * (`addressOf`, on Linux, from Redis 7.0 on).
   */
  front?: Front;
}

type Front = (port: number) => Promise<number>;

/** By the ports that have one. */
const fronts = new Map<number, number>();

/** The port by which the other servers know it. */
export function toldPort({ port }: Pick<Server, "port">): number {
  return fronts.get(port) ?? port;
}

/** The port on which a node of a Cluster listens to the others. */
export function busPort({ port }: Pick<Server, "port">): number {
  return port + 10_000;
}

/** Where a node of a Cluster with fronts calls from. */
export function addressOf({ port }: Pick<Server, "port">): string {
  return `127.${Math.floor(port / 256)}.${port % 256}.1`;
}

/** How a server that has a front is told what to tell of itself. */
type Announce = (place: Place, front: Front) => Promise<string[]>;

const asMember: Announce = async ({ port }, front) => {
  fronts.set(port, await front(port));
  return ["--replica-announce-ip", host, "--replica-announce-port", `${fronts.get(port)}`];
};

const asNode: Announce = async (place, front) => {
  for (const port of [place.port, busPort(place)]) fronts.set(port, await front(port));
  const ports = [
    "--cluster-announce-port",
    `${toldPort(place)}`,
    "--cluster-announce-bus-port",
    `${toldBusPort(place)}`,
  ];
  return ["--cluster-announce-ip", host, ...ports, "--bind-source-addr", addressOf(place)];
};

function toldBusPort(server: Pick<Server, "port">): number {
  return toldPort({ port: busPort(server) });
}

/** Of those servers that have one. */
const passwords = new WeakMap<Server, string>();

async function startWith(password: string | undefined, options: ServerOptions): Promise<Server> {
  const server = await startServer(options);
  if (password !== undefined) passwords.set(server, password);
  return server;
}

/** Servers that are stopped together. */
abstract class Topology {
  abstract readonly servers: readonly Server[];

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts several at once. When one of them fails, the others are stopped. */
async function startAll(starts: (() => Promise<Server>)[]): Promise<Server[]> {
  const outcomes = await Promise.allSettled(starts.map((start) => start()));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  const servers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  if (!failure) return servers;
  await Promise.all(servers.map((server) => server.stop()));
  throw failure.reason;
}

/** Brings a topology to where it can be used; stops all of it when that fails. */
async function ready<T extends Topology>(topology: T, prepare: () => Promise<void>): Promise<T> {
  try {
    await prepare();
    return topology;
  } catch (error) {
    await topology.stop();
    throw error;
  }
}

/** Waits until `condition` gives something truthy. One that throws (nobody answers, not yet) is asked again. */
async function settled<T>(condition: () => Promise<T>, what: string): Promise<T> {
  const deadline = performance.now() + settleTimeoutMs;
  let cause: unknown;
  while (performance.now() < deadline) {
    try {
      const answer = await condition();
      if (answer) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(pollMs);
  }
  throw new Error(`Waited ${settleTimeoutMs} ms until ${what}; it did not happen.`, { cause });
}

/** A few commands on a connection of their own, which is sure to end also where the server is frozen. */
async function at<T>(server: Server, use: (redis: Redis) => Promise<T>): Promise<T> {
  const password = passwords.get(server);
  const redis = new Redis({
    port: server.port,
    host,
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    connectTimeout: answerTimeoutMs,
    commandTimeout: answerTimeoutMs,
  });
  redis.on("error", () => {}); // a command that fails says so itself
  try {
    await redis.connect();
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** One command, on a connection of its own. */
export function ask(server: Server, command: string, ...args: (string | number)[]): Promise<unknown> {
  return at(server, (redis) => redis.call(command, args));
}

/** The answer of INFO, and of CLUSTER INFO, as a record. */
async function facts(server: Server, command: string, section: string): Promise<Record<string, string>> {
  const text = String(await ask(server, command, section));
  return Object.fromEntries([...text.matchAll(/^([^:#\r\n]+):(.*?)\r?$/gm)].map(([, key, value]) => [key, value]));
}

async function isLinked(replica: Server, master: Server): Promise<boolean> {
  const { role, master_port, master_link_status } = await facts(replica, "INFO", "replication");
  return role === "slave" && Number(master_port) === toldPort(master) && master_link_status === "up";
}

async function isMaster(server: Server): Promise<boolean> {
  return (await facts(server, "INFO", "replication"))["role"] === "master";
}

const quickSync = ["--repl-diskless-sync-delay", "0"];

function withArgs(options: MemberOptions, more: string[], announce = asMember): ServerOptions {
  const { args = [], password, front, ...rest } = options;
  const login = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
  const all = async (place: Place): Promise<string[]> => [
    ...more,
    ...login,
    ...(front ? await announce(place, front) : []),
    ...(typeof args === "function" ? await args(place) : args),
  ];
  return { ...rest, args: all };
}

/** A master with replicas that copy it. */
export class Replicated extends Topology {
  readonly master: Server;
  readonly replicas: readonly Server[];
  readonly servers: readonly Server[];

  constructor(master: Server, replicas: readonly Server[]) {
    super();
    this.master = master;
    this.replicas = replicas;
    this.servers = [master, ...replicas];
  }

  /** Waits until every replica has all that the master has written so far. */
  async inSync(): Promise<void> {
    const state = { master: await facts(this.master, "INFO", "replication") };
    const written = Number(state.master["master_repl_offset"]);
    const caughtUp = async (replica: Server): Promise<boolean> => {
      const { slave_repl_offset } = await facts(replica, "INFO", "replication");
      return (await isLinked(replica, this.master)) && Number(slave_repl_offset) >= written;
    };
    for (const replica of this.replicas) await settled(() => caughtUp(replica), `${replica.url} was in sync`);
  }
}

/** Starts a master and that many replicas, and waits until all are online and in sync. */
export async function startReplicated(count: number, options: MemberOptions = {}): Promise<Replicated> {
  const [master] = (await startAll([() => startWith(options.password, withArgs(options, quickSync))])) as [Server];
  const replica = withArgs(options, [...quickSync, "--replicaof", host, `${toldPort(master)}`]);
  try {
    const replicas = await startAll(Array.from({ length: count }, () => () => startWith(options.password, replica)));
    const replicated = new Replicated(master, replicas);
    const online = async (): Promise<boolean> => {
      const state = await facts(master, "INFO", "replication");
      return Object.values(state).filter((value) => value.includes("state=online")).length === count;
    };
    return await ready(replicated, async () => {
      await settled(online, `${count} replicas were online`);
      await replicated.inSync();
    });
  } catch (error) {
    await master.stop();
    throw error;
  }
}

export interface SentinelOptions extends MemberOptions {
  /** Replicas of the master (default 2). */
  replicas?: number;
  /** Sentinels (default 3). More than half of them have to agree. */
  sentinels?: number;
  /** What they call the master (default `mymaster`). */
  name?: string;
  /**
   * How long a server must be silent to count as down, in milliseconds (default 1000: less, and a busy machine fails
   * over by itself).
   */
  downAfter?: number;
  /** Of the Sentinels, for others and among themselves. */
  sentinelPassword?: string;
}

/**
 * Since 7.0; older ones ask each other every ten seconds or so. While a failover is on, replicas are asked once a
 * second, and those that were last heard of five ping periods ago are not promoted: so that period cannot be shorter.
 */
const hurry = ["info-period", 200, "publish-period", 200, "ask-period", 200, "ping-period", 300];

/** A master, its replicas, and Sentinels that watch them. */
export class Sentinels extends Topology {
  readonly name: string;
  /** The data servers: the master of the start first. */
  readonly members: readonly Server[];
  readonly sentinels: readonly Server[];
  readonly servers: readonly Server[];

  constructor(name: string, members: readonly Server[], sentinels: readonly Server[]) {
    super();
    this.name = name;
    this.members = members;
    this.sentinels = sentinels;
    this.servers = [...sentinels, ...members]; // Sentinels first: nobody is to fail over while all are stopped
  }

  /** The Sentinels' addresses, as ioredis takes them. */
  get addresses(): Address[] {
    return this.sentinels.map(({ port }) => ({ host, port }));
  }

  /** What the Sentinels agree is the master, and takes writes. */
  master(): Promise<Server> {
    return this.#masterOtherThan(undefined);
  }

  /** The replicas as the Sentinels see them: all but the master. */
  async replicas(): Promise<Server[]> {
    const master = await this.master();
    return this.members.filter((each) => each !== master);
  }

  /** Has the Sentinels promote a replica, and resolves with it when all of them know and it takes writes. */
  async failover(): Promise<Server> {
    const before = await this.master();
    const [first] = this.sentinels as [Server];
    // Refused while another is going on, or while they do not see a replica that would do.
    await settled(async () => (await ask(first, "SENTINEL", "FAILOVER", this.name)) === "OK", "a failover had begun");
    return this.promoted(before);
  }

  /** Waits until another has become the master, after whatever happened to this one. */
  promoted(before: Server): Promise<Server> {
    return this.#masterOtherThan(before);
  }

  /** Waits until each Sentinel knows all others and all members, and every replica is linked. */
  async settle(): Promise<void> {
    const complete = async (sentinel: Server): Promise<boolean> => {
      const flat = (await ask(sentinel, "SENTINEL", "MASTER", this.name)) as string[];
      const told = Object.fromEntries(flat.flatMap((key, i) => (i % 2 === 0 ? [[key, flat[i + 1]]] : [])));
      return (
        told["flags"] === "master" &&
        Number(told["num-slaves"]) === this.members.length - 1 &&
        Number(told["num-other-sentinels"]) === this.sentinels.length - 1
      );
    };
    for (const each of this.sentinels) await settled(() => complete(each), `${each.url} knew all the others`);
    const linked = async (): Promise<boolean> => {
      const master = await this.master();
      const links = this.members.filter((each) => each !== master).map((each) => isLinked(each, master));
      return (await Promise.all(links)).every(Boolean);
    };
    await settled(linked, "all replicas were linked");
  }

  #masterOtherThan(before: Server | undefined): Promise<Server> {
    const agreed = async (): Promise<Server | false> => {
      const named = await Promise.all(
        this.sentinels.filter(({ isRunning }) => isRunning).map((each) => this.#ask(each)),
      );
      const master = this.members.find((each) => toldPort(each) === named[0]);
      const agree = named.every((port) => port === named[0]);
      return master !== undefined && master !== before && agree && (await isMaster(master)) && master;
    };
    return settled(agreed, "the Sentinels agreed on a master") as Promise<Server>;
  }

  async #ask(sentinel: Server): Promise<number> {
    const [, port] = (await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.name)) as [string, string];
    return Number(port);
  }
}

/** Starts a master, replicas and Sentinels, and waits until everybody knows everybody. */
export async function startSentinels(options: SentinelOptions = {}): Promise<Sentinels> {
  const { replicas = 2, sentinels = 3, name = "mymaster", downAfter = 1_000, sentinelPassword, ...each } = options;
  const replicated = await startReplicated(replicas, each);
  const config = [
    `sentinel monitor ${name} ${host} ${toldPort(replicated.master)} ${Math.floor(sentinels / 2) + 1}`,
    `sentinel down-after-milliseconds ${name} ${downAfter}`,
    `sentinel failover-timeout ${name} ${2 * downAfter}`,
    `sentinel parallel-syncs ${name} ${Math.max(1, replicas)}`,
    ...(each.password === undefined ? [] : [`sentinel auth-pass ${name} ${each.password}`]),
    ...(sentinelPassword === undefined
      ? []
      : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]),
  ].join("\n");
  const watcher: ServerOptions = { config: `${config}\n`, args: ["--sentinel"] };
  if (each.binary !== undefined) watcher.binary = each.binary;
  try {
    const watchers = await startAll(
      Array.from({ length: sentinels }, () => () => startWith(sentinelPassword, watcher)),
    );
    const topology = new Sentinels(name, replicated.servers, watchers);
    return await ready(topology, async () => {
      await Promise.all(watchers.map((sentinel) => ask(sentinel, "SENTINEL", "DEBUG", ...hurry).catch(() => {})));
      await topology.settle();
    });
  } catch (error) {
    await replicated.stop();
    throw error;
  }
}

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

export interface TlsOptions extends MemberOptions {
  /** Refuse clients that show no certificate (default false). */
  clientCertificates?: boolean;
  /** Its certificate is for the name localhost only, and not for the address (default false). */
  byNameOnly?: boolean;
}

/** A server that speaks TLS only. Its certificates end with it. */
export class TlsServer extends Topology {
  readonly server: Server;
  readonly servers: readonly Server[];
  readonly url: string;
  /** The authority that signed both certificates; `cert` and `key` are a client's. All PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;

  constructor(server: Server, { ca, cert, key }: { ca: string; cert: string; key: string }) {
    super();
    this.server = server;
    this.servers = [server];
    this.url = `rediss://${host}:${server.port}`;
    this.ca = ca;
    this.cert = cert;
    this.key = key;
  }
}

export async function startTls(options: TlsOptions = {}): Promise<TlsServer> {
  const { clientCertificates = false, byNameOnly = false, args = [], ...rest } = options;
  const binary = options.binary ?? (await findServerBinary());
  const tlsArgs = async (place: Place): Promise<string[]> => {
    await makeCertificates(place.dir, byNameOnly ? "DNS:localhost" : `IP:${host},DNS:localhost`);
    const file = (name: string): string => join(place.dir, name);
    const files = ["--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key")];
    const clients = ["--tls-ca-cert-file", file("ca.crt"), "--tls-auth-clients", clientCertificates ? "yes" : "no"];
    const ports = ["--port", "0", "--tls-port", `${place.port}`];
    return [...ports, ...files, ...clients, ...(typeof args === "function" ? await args(place) : args)];
  };
  const server = await startServer({ ...rest, binary, args: tlsArgs }).catch((error: unknown) => {
    if (!/tls-port/.test(String(error))) throw error;
    throw new Error(`${binary} has no TLS built in. Use one that was built with BUILD_TLS=yes, as Debian's are.`, {
      cause: error,
    });
  });
  const read = (name: string): Promise<string> => readFile(join(server.dir, name), "utf8");
  const [ca, cert, key] = await Promise.all([read("ca.crt"), read("client.crt"), read("client.key")]);
  return new TlsServer(server, { ca, cert, key });
}

/** An authority, and a server's and a client's certificate that it has signed, by the command openssl. */
async function makeCertificates(dir: string, names: string): Promise<void> {
  await ensureOpenssl();
  const openssl = (line: string, ...more: string[]): Promise<unknown> =>
    run("openssl", [...line.split(" "), ...more], { cwd: dir });
  const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  await openssl(`req -x509 ${newKey} -days 2 -subj /CN=holdfast-ca -keyout ca.key -out ca.crt`);
  const sign = async (name: string, serial: number): Promise<void> => {
    await openssl(
      `req ${newKey} -subj /CN=${name} -addext subjectAltName=${names} -keyout ${name}.key -out ${name}.csr`,
    );
    // From the request, since not every version copies its extensions.
    await run("sh", ["-c", `printf 'subjectAltName=${names}' > ${name}.ext`], { cwd: dir });
    await openssl(
      `x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -set_serial ${serial} -days 2 -extfile ${name}.ext -out ${name}.crt`,
    );
  };
  await Promise.all([sign("server", 1), sign("client", 2)]);
}
