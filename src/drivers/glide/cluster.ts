import calculateSlot from "cluster-key-slot";
import type { Driver, Send } from "../driver.ts";
import { loadLibrary } from "../load.ts";
import { GlideDriver } from "./client.ts";
import { AS_STRINGS, looksLikeGlide, openLike, plain } from "./library.ts";
import type { Address, GlideClient, GlideClusterClient, GlideOrigin, OwnGlideClient, Route } from "./library.ts";
import { fieldOf, GlideListener, HELLO, numberIn } from "./listener.ts";
import type { Connections } from "./listener.ts";
import { GlideSession } from "./session.ts";

export function isGlideCluster(client: object): client is GlideClusterClient {
  return looksLikeGlide(client) && "ssubscribe" in client;
}

/** Slots from the first to the last, and the id of the server that keeps them. */
type SlotRange = readonly [first: number, last: number, owner: string];

export class GlideClusterDriver extends GlideDriver {
  override readonly isCluster = true;
  /** The cluster's latest answer. Only a hint. */
  #slots: readonly SlotRange[] = [];
  #learning = false;

  /**
   * GLIDE sends again, elsewhere, each command of a batch that was redirected. So the first of them asks the server for
   * its name, and afterwards that must still be the one where such commands go; and before the last, which may wait for
   * those before it, the server is asked if it is just giving the slot away.
   */
  override async inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const batch = [["CLUSTER", "MYID"], ...commands.slice(0, -1), ["CLUSTER", "NODES"], ...commands.slice(-1)];
    const replies = await super.inOrder(batch, key);
    const [before] = replies.splice(0, 1);
    const [nodes] = replies.splice(-2, 1);
    if (nodes instanceof Error) throw nodes;
    const after = await this.send(["CLUSTER", "MYID"], key);
    if (before !== after || isLeaving(calculateSlot(key), String(nodes))) {
      throw new Error("The slot moved between two commands");
    }
    return replies;
  }

  /**
   * To a server for WATCH alone, with GLIDE's other client: this one would send again elsewhere what was redirected.
   */
  override async session(key: string): Promise<Driver> {
    const [id, addresses] = await Promise.all([this.send(["CLUSTER", "MYID"], key), this.#addresses()]);
    const address = addresses.get(String(id));
    if (!address) throw new Error("Connection to the server that keeps the key is not there");
    return new MovableSession(await openSingle(this.glide, address), () => (this.#slots = []));
  }

  /** Before the first answer of the cluster, each slot counts as a server. */
  override ownerOf(key: string): string {
    const slot = calculateSlot(key);
    const range = this.#slots.find(([first, last]) => first <= slot && slot <= last);
    if (!range) this.#learn();
    return range?.[2] ?? `slot ${slot}`;
  }

  override async servers(): Promise<readonly Send[]> {
    const addresses = await this.#addresses();
    return [...addresses.values()].map((address) => async (command: readonly string[]) => {
      const options = { ...AS_STRINGS, route: { type: "routeByAddress", ...address } };
      return plain(await this.carry(() => this.glide.customCommand([...command], options)));
    });
  }

  protected override listener(): GlideListener {
    return new GlideListener((settings) => openLike(this.glide, settings), lookAtAll);
  }

  protected override routeOf(key: string | undefined): Route {
    return key === undefined ? "randomNode" : { type: "primarySlotKey", key };
  }

  /** By the ids of the primaries: how GLIDE reaches them. */
  async #addresses(): Promise<ReadonlyMap<string, Address>> {
    const options = { ...AS_STRINGS, route: "allPrimaries" };
    const ids = plain(await this.carry(() => this.glide.customCommand(["CLUSTER", "MYID"], options))) as string[];
    const addresses = new Map<string, Address>();
    for (let i = 0; i < ids.length; i += 2) addresses.set(String(ids[i + 1]), parseAddress(String(ids[i])));
    return addresses;
  }

  #learn(): void {
    if (this.#learning) return;
    this.#learning = true;
    const slots = this.send(["CLUSTER", "SLOTS"]).then((reply) => {
      const rows = reply as [number, number, [unknown, unknown, unknown]][];
      this.#slots = rows.map(([first, last, primary]) => [first, last, String(primary[2])]);
    });
    void slots.catch(() => {}).finally(() => (this.#learning = false));
  }
}

/** @param nodes what a server answers to CLUSTER NODES: of itself also which slots it is giving away */
function isLeaving(slot: number, nodes: string): boolean {
  return nodes.split("\n").some((line) => line.includes("myself") && line.includes(`[${slot}->-`));
}

/** Tells when its server no longer keeps what it is asked for. */
class MovableSession extends GlideSession {
  readonly #moved: () => void;

  constructor(glide: OwnGlideClient, moved: () => void) {
    super(glide);
    this.#moved = moved;
  }

  override send(command: readonly string[]): Promise<unknown> {
    return this.#told(super.send(command));
  }

  override transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#told(super.transaction(commands));
  }

  #told<T>(call: Promise<T>): Promise<T> {
    call.catch(() => this.#moved());
    return call;
  }
}

/** The one class that cannot be reached from a client; nothing else here needs the package. */
function openSingle(client: GlideClient, address: Address): Promise<OwnGlideClient> {
  const { config } = client as unknown as GlideOrigin;
  const { GlideClient: Single } = loadLibrary("@valkey/valkey-glide") as { GlideClient: GlideOrigin["constructor"] };
  return openLike({ constructor: Single, config } as unknown as GlideClient, { addresses: [address] });
}

function parseAddress(text: string): Address {
  const colon = text.lastIndexOf(":");
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

/** All connections to primaries. Channels belong to slots from 7.0 on. */
async function lookAtAll(client: OwnGlideClient): Promise<Connections> {
  const options = { ...AS_STRINGS, route: "allPrimaries" };
  const hellos = plain(await client.customCommand(HELLO, options)) as unknown[];
  const found: string[] = [];
  let sharded = true;
  for (let i = 0; i < hellos.length; i += 2) {
    const hello = plain(hellos[i + 1]);
    found.push(`${String(hellos[i])} ${numberIn(hello)}`);
    sharded &&= parseInt(fieldOf(hello, "version")) >= 7;
  }
  // A slot that moves begins an epoch. Its channels follow it sooner than we look, but not before something was missed.
  const infos = plain(await client.customCommand(["CLUSTER", "INFO"], options)) as unknown[];
  const epochs = infos.map((info) => Number(/^cluster_current_epoch:(\d+)/m.exec(String(info))?.[1] ?? 0));
  const identity = `${Math.max(...epochs)} ${found.sort().join()}`;
  if (sharded) return { identity, sharded };
  const slots = await client.customCommand(["CLUSTER", "SLOTS"], { ...AS_STRINGS, route: "randomNode" });
  const owners = (slots as [number, number, [unknown, unknown, unknown]][]).map(
    ([first, last, [, , owner]]) => `${first} ${last} ${String(owner)}`,
  );
  return { identity, sharded, layout: owners.sort().join() };
}
