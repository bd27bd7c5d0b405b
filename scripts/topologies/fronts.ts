/** Ways to servers that the others, and clients that ask them, are told of instead of the servers' own ports. */
import type { Place, Server } from "../servers.ts";

const host = "127.0.0.1";

/** Opens a way to this port, and resolves with the way's own port. */
export type Front = (port: number) => Promise<number>;

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
export type Announce = (place: Place, front: Front) => Promise<string[]>;

export const asMember: Announce = async ({ port }, front) => {
  fronts.set(port, await front(port));
  return ["--replica-announce-ip", host, "--replica-announce-port", `${fronts.get(port)}`];
};

export const asNode: Announce = async (place, front) => {
  for (const port of [place.port, busPort(place)]) fronts.set(port, await front(port));
  const ports = [
    "--cluster-announce-port",
    `${toldPort(place)}`,
    "--cluster-announce-bus-port",
    `${toldBusPort(place)}`,
  ];
  return ["--cluster-announce-ip", host, ...ports, "--bind-source-addr", addressOf(place)];
};

export function toldBusPort(server: Pick<Server, "port">): number {
  return toldPort({ port: busPort(server) });
}
