/** A master, its replicas, and Sentinels that watch them. */
import type { Server, ServerOptions } from "../servers.ts";
import { ask, host, isLinked, isMaster, settled } from "./asking.ts";
import { toldPort } from "./fronts.ts";
import { startReplicated } from "./replicated.ts";
import { type Address, type MemberOptions, ready, startAll, startWith, Topology } from "./topology.ts";

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
