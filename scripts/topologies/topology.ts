/** Servers that belong together, for tests: all on loopback, all stopped as one. */
import { type Place, type Server, type ServerOptions, startServer } from "../servers.ts";
import { usePassword } from "./asking.ts";
import { asMember, type Front } from "./fronts.ts";

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

export async function startWith(password: string | undefined, options: ServerOptions): Promise<Server> {
  const server = await startServer(options);
  if (password !== undefined) usePassword(server, password);
  return server;
}

/** Servers that are stopped together. */
export abstract class Topology {
  abstract readonly servers: readonly Server[];

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts several at once. When one of them fails, the others are stopped. */
export async function startAll(starts: (() => Promise<Server>)[]): Promise<Server[]> {
  const outcomes = await Promise.allSettled(starts.map((start) => start()));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  const servers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  if (!failure) return servers;
  await Promise.all(servers.map((server) => server.stop()));
  throw failure.reason;
}

/** Brings a topology to where it can be used; stops all of it when that fails. */
export async function ready<T extends Topology>(topology: T, prepare: () => Promise<void>): Promise<T> {
  try {
    await prepare();
    return topology;
  } catch (error) {
    await topology.stop();
    throw error;
  }
}

export const quickSync = ["--repl-diskless-sync-delay", "0"];

export function withArgs(options: MemberOptions, more: string[], announce = asMember): ServerOptions {
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
