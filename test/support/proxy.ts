// A TCP proxy between a client and a server, with faults that can be switched on and off while it runs.

import { once } from "node:events";
import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { randomPort } from "../../scripts/servers.ts";

const host = "127.0.0.1";
const portAttempts = 20;
const maxQueuedChunks = 1_024;

type Direction = "to server" | "to client";

export async function startProxy(targetPort: number): Promise<Proxy> {
  for (let attempt = 1; ; attempt++) {
    const proxy = new Proxy(targetPort, randomPort());
    try {
      await proxy.heal();
      return proxy;
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      if (!taken || attempt === portAttempts) throw error;
    }
  }
}

export class Proxy {
  readonly port: number;
  readonly url: string;
  /** Chunks that a fault has swallowed since the start: wait for this to grow to know that the fault was met. */
  swallowed = 0;
  readonly #targetPort: number;
  readonly #links = new Set<Link>();
  #listener: NetServer | undefined;
  #latency = 0;
  #lost: readonly Direction[] = [];
  /** Whose bytes are lost; undefined: everybody's. */
  #victim: string | undefined;

  constructor(targetPort: number, port: number) {
    this.#targetPort = targetPort;
    this.port = port;
    this.url = `redis://${host}:${port}`;
  }

  get connections(): number {
    return this.#links.size;
  }

  /** Delays every chunk by `ms` each way, so that a round trip takes twice that. Combines with the other faults. */
  delay(ms: number): void {
    this.#latency = ms;
  }

  /** Commands arrive and run, their replies (and all pushed messages) are lost. */
  dropReplies(): void {
    this.#lost = ["to client"];
  }

  /**
   * Connections are accepted and stay open, and nothing arrives anywhere, not even the end of a connection.
   *
   * @param from only those that come from that address
   */
  blackHole(from?: string): void {
    this.#lost = ["to server", "to client"];
    this.#victim = from;
  }

  /** Nobody listens, and whoever was connected is thrown out. */
  async refuse(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    const closed = listener && once(listener, "close");
    listener?.close();
    this.reset();
    await closed;
  }

  /** Breaks every connection with a TCP reset. New ones are taken. */
  reset(): void {
    for (const link of this.#links) link.destroy();
  }

  /**
   * Ends every fault. A connection from which bytes are missing is reset: going on would hand a client the reply to
   * another command, which no real network does.
   */
  async heal(): Promise<void> {
    this.#latency = 0;
    this.#lost = [];
    this.#victim = undefined;
    for (const link of this.#links) if (link.torn) link.destroy();
    if (this.#listener) return;
    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    listener.listen(this.port, host);
    await once(listener, "listening");
    this.#listener = listener;
  }

  async close(): Promise<void> {
    await this.refuse();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    const server = connect({ port: this.#targetPort, host, allowHalfOpen: true, noDelay: true });
    const from = client.remoteAddress;
    const isStruck = (): boolean => this.#victim === undefined || this.#victim === from;
    const link = new Link(client, server, {
      latency: () => this.#latency,
      isLost: (direction) => this.#lost.includes(direction) && isStruck(),
      swallow: () => this.swallowed++,
      gone: () => this.#links.delete(link),
    });
    this.#links.add(link);
  }
}

interface Faults {
  latency(): number;
  isLost(direction: Direction): boolean;
  swallow(): void;
  gone(): void;
}

/** One client's connection and its other half. */
class Link {
  /** True once a fault has swallowed some of it. */
  torn = false;
  readonly #ends: readonly [Socket, Socket];
  readonly #faults: Faults;

  constructor(client: Socket, server: Socket, faults: Faults) {
    this.#ends = [client, server];
    this.#faults = faults;
    this.#carry(client, server, "to server");
    this.#carry(server, client, "to client");
  }

  destroy(): void {
    for (const end of this.#ends) reset(end);
  }

  #carry(from: Socket, to: Socket, direction: Direction): void {
    const pass = (act: () => void): void => {
      if (this.#faults.isLost(direction)) {
        this.torn = true;
        this.#faults.swallow();
      } else if (!to.destroyed) act();
    };
    const later = inOrder(from, to, () => this.#faults.latency());
    from.on("data", (chunk) => later(() => pass(() => to.write(chunk))));
    from.on("end", () => later(() => pass(() => to.end())));
    from.on("error", () => later(() => pass(() => reset(to))));
    from.on("close", () => this.#ends.every((end) => end.destroyed) && this.#faults.gone());
  }
}

/**
 * A TCP reset, unless the socket's end is just being sent: libuv refuses to reset it then, and Node keeps it open forever,
 * and its process with it.
 */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

/** Runs what it is given after the latency of that moment, in order, and slows the source down to what `to` takes. */
function inOrder(from: Socket, to: Socket, latency: () => number): (act: () => void) => void {
  const queue: { due: number; act: () => void }[] = [];
  let lastDue = 0;
  const regulate = (): void => {
    if (to.writableNeedDrain || queue.length >= maxQueuedChunks) from.pause();
    else from.resume();
  };
  const deliver = (): void => {
    for (let head = queue[0]; head; head = queue[0]) {
      const wait = head.due - performance.now();
      if (wait > 0) {
        setTimeout(deliver, wait).unref();
        break;
      }
      queue.shift();
      head.act();
    }
    regulate();
  };
  to.on("drain", regulate);
  return (act) => {
    lastDue = Math.max(lastDue, performance.now() + latency());
    queue.push({ due: lastDue, act });
    if (queue.length === 1) deliver();
    else regulate();
  };
}
