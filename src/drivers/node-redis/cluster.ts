import slotOf from "cluster-key-slot";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { asking, ofServer, untilAccepted, untilSettled, withoutAsking } from "../redirects.ts";
import { untilWritten } from "../written.ts";
import { NodeRedisDriver } from "./client.ts";
import { destroy, listenOn, openSession } from "./connection.ts";
import { executed, explained, send, sendInOrder, USUAL_OPTIONS } from "./library.ts";
import type { ClusterNode, NodeRedisClient, NodeRedisCluster } from "./library.ts";
import { Unwritten } from "./unwritten.ts";

export class NodeRedisClusterDriver extends HearingDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = true;
  readonly keyPrefix: string;
  readonly #cluster: NodeRedisCluster;
  readonly #channels: Followers;
  readonly #unwritten = new Unwritten();

  constructor(cluster: NodeRedisCluster, keyPrefix: string) {
    super();
    this.#cluster = cluster;
    this.keyPrefix = keyPrefix;
    this.health.watch(cluster, {
      lost: ["node-reconnecting", "node-disconnect"],
      failed: ["node-error", "error"],
      ready: ["node-ready"],
    });
    this.#channels = new Followers(
      {
        ownerOf: (channel) => this.ownerOf(channel),
        refresh: (channel) => this.send(["EXISTS", channel], channel),
        listenOn: async (server, events) => listenOn(await this.#clientAt(server), events),
      },
      { sharded: true },
    );
  }

  send(command: readonly string[], key?: string): Promise<unknown> {
    const { options } = this.#unwritten;
    const sent = untilSettled(() => this.#cluster.sendCommand(key, false, command as string[], options));
    return this.#explained(sent);
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const sendAll = async (server?: string): Promise<unknown[]> => {
      const { drops } = this;
      const asked = server === undefined ? commands : asking(commands);
      const replies = await sendInOrder(
        await this.#clientAt(server ?? this.ownerOf(key)),
        asked,
        this.#unwritten.options,
      );
      if (drops !== this.drops) throw new Error("Connection was lost between two commands");
      return withoutAsking(replies, asked);
    };
    return untilAccepted(sendAll, () => this.send(["EXISTS", key], key));
  }

  together(run: () => void): void {
    // Everything sent to a server in one turn of the event loop leaves in one write.
    run();
  }

  transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null> {
    const multi = this.#cluster.withTypeMapping(USUAL_OPTIONS.typeMapping).multi(key);
    for (const command of commands) multi.addCommand(key, false, [...command]);
    return executed(multi);
  }

  written(key: string): Promise<void> {
    const isWritten = (): boolean =>
      this.#nodeAt(this.ownerOf(key))?.client?.isReady === true && this.#unwritten.count === 0;
    // The client first finds the server, in a separate turn.
    return untilWritten(() => !this.#cluster.isOpen || isWritten(), 2);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(key: string): Promise<Driver> {
    const connection = await openSession(await this.#clientAt(this.ownerOf(key)));
    return new NodeRedisDriver(connection, "", () => destroy(connection));
  }

  ownerOf(key: string): string {
    return this.#cluster.slots[slotOf(key)]?.master.address ?? "";
  }

  async servers(): Promise<readonly Send[]> {
    const clients = await Promise.all(this.#cluster.masters.map((node) => this.#cluster.nodeClient(node)));
    if (clients.length === 0) throw new Error("The client is closed: no server of the cluster is known.");
    return clients.map((client) => (command) => this.#explained(send(client, command)));
  }

  close(): void {
    this.health.leave();
  }

  #explained<T>(call: Promise<T>): Promise<T> {
    return call.catch((error: unknown) => {
      throw ofServer(explained(error, this.complaint), this.#cluster.isOpen);
    });
  }

  #nodeAt(server: string): ClusterNode | undefined {
    return this.#cluster.masters.find(({ address }) => address === server);
  }

  async #clientAt(server: string): Promise<NodeRedisClient> {
    const node = this.#nodeAt(server);
    if (!node) throw new Error(`The cluster has no server at ${server || "an unknown address"}.`);
    return this.#cluster.nodeClient(node);
  }
}
