/** The parts of node-redis' clients (package `redis`, 5 and 6) that we use, and how commands are sent with them. */
import type { Emitter } from "../health.ts";
import { isClosed, messageOf } from "../server-errors.ts";

/** A client of one server. */
export interface NodeRedisClient extends Emitter {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  readonly options?: { readonly database?: number; readonly socket?: { readonly reconnectStrategy?: unknown } };
  sendCommand(args: string[], options?: object): Promise<unknown>;
  /** The same client, whose commands answer with other types. */
  withTypeMapping(mapping: object): { multi(): NodeRedisMulti };
  duplicate(overrides?: object): NodeRedisClient;
}

interface NodeRedisMulti {
  addCommand(args: string[]): unknown;
  exec(): Promise<unknown>;
}

/** A cluster client. It follows MOVED and ASK by itself. */
export interface NodeRedisCluster extends Emitter {
  readonly isOpen: boolean;
  readonly slots: readonly ({ readonly master: ClusterNode } | undefined)[];
  readonly masters: readonly ClusterNode[];
  nodeClient(node: ClusterNode): Promise<NodeRedisClient>;
  sendCommand(key: string | undefined, isReadonly: boolean, args: string[], options: object): Promise<unknown>;
  withTypeMapping(mapping: object): { multi(key?: string): NodeRedisClusterMulti };
}

interface NodeRedisClusterMulti {
  addCommand(key: string | undefined, isReadonly: boolean, args: string[]): unknown;
  exec(): Promise<unknown>;
}

export interface ClusterNode {
  readonly address: string;
  /** There once it is connected to. */
  readonly client?: NodeRedisClient;
}

export interface NodeRedisPool {
  readonly isOpen: boolean;
  readonly totalClients: number;
  execute<T>(run: (client: NodeRedisClient) => T): Promise<Awaited<T>>;
}

/** A Sentinel client. It follows the primary by itself. */
export interface NodeRedisSentinel extends Emitter {
  readonly isOpen: boolean;
  getMasterNode(): { readonly host: string; readonly port: number } | undefined;
  /** Not documented, but what its own commands go through: only here it shows that a command was sent again. */
  _execute<T>(isReadonly: boolean, run: (primary: NodeRedisClient) => Promise<T>): Promise<T>;
}

export function isNodeRedis(client: object): client is NodeRedisClient {
  const seen = client as Partial<NodeRedisClient> & { readonly unref?: unknown };
  return (
    typeof seen.sendCommand === "function" &&
    typeof seen.withTypeMapping === "function" &&
    typeof seen.duplicate === "function" &&
    typeof seen.isOpen === "boolean" &&
    typeof seen.isReady === "boolean" &&
    // Its cluster and Sentinel clients look the same, and take other arguments.
    typeof seen.unref === "function"
  );
}

export function isNodeRedisCluster(client: object): client is NodeRedisCluster {
  const seen = client as Partial<NodeRedisCluster>;
  return (
    typeof seen.sendCommand === "function" &&
    typeof seen.withTypeMapping === "function" &&
    typeof seen.nodeClient === "function" &&
    Array.isArray(seen.slots) &&
    Array.isArray(seen.masters)
  );
}

export function isNodeRedisPool(client: object): client is NodeRedisPool {
  const seen = client as Partial<NodeRedisPool>;
  return (
    typeof seen.execute === "function" && typeof seen.totalClients === "number" && typeof seen.isOpen === "boolean"
  );
}

export function isNodeRedisSentinel(client: object): client is NodeRedisSentinel {
  const seen = client as Partial<NodeRedisSentinel>;
  return (
    typeof seen._execute === "function" && typeof seen.getMasterNode === "function" && typeof seen.isOpen === "boolean"
  );
}

/** A client of node-redis before 5, which listens, closes and answers in other ways. */
export function isOldNodeRedis(client: object): boolean {
  const { sendCommand, withTypeMapping } = client as Partial<Record<"sendCommand" | "withTypeMapping", unknown>>;
  const isOfNodeRedis = "isOpen" in client || "nodeClient" in client || "send_command" in client;
  return isOfNodeRedis && sendCommand !== undefined && withTypeMapping === undefined;
}

/**
 * The options of our commands, whatever the user has set: the usual reply types, and no time limit. The client's
 * timers would fire before a process that was blocked has read what arrived; holdfast's own limit does not.
 */
export const USUAL_OPTIONS = { typeMapping: {}, timeout: 0 };

export function send(
  client: NodeRedisClient,
  command: readonly string[],
  options: object = USUAL_OPTIONS,
): Promise<unknown> {
  return client.sendCommand(command as string[], options);
}

/**
 * Why a client is closed although its user has not closed it: node-redis abandons a connection for good when
 * its `socketTimeout` has passed, unless it has a strategy to connect again.
 *
 * @param complaint the client's latest error
 */
export function explained(error: unknown, complaint: unknown): unknown {
  if (!isClosed(error) || !messageOf(complaint).startsWith("Socket timeout")) return error;
  return new Error(`node-redis gave up its connection: ${messageOf(complaint)}`, { cause: complaint });
}

/** One right after the other, if the client stays the same. A command that failed is an Error in the result. */
export function sendInOrder(
  client: NodeRedisClient,
  commands: readonly (readonly string[])[],
  options?: object,
): Promise<unknown[]> {
  return Promise.all(commands.map((command) => send(client, command, options).catch((error: unknown) => error)));
}

/** MULTI … EXEC. Null if a watched key has changed. */
export function transact(client: NodeRedisClient, commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
  const multi = client.withTypeMapping(USUAL_OPTIONS.typeMapping).multi();
  for (const command of commands) multi.addCommand([...command]);
  return executed(multi);
}

export async function executed(multi: { exec(): Promise<unknown> }): Promise<unknown[] | null> {
  try {
    return (await multi.exec()) as unknown[];
  } catch (error) {
    const { replies } = error as Error & { replies?: unknown[] };
    if (Array.isArray(replies)) return replies;
    // A WatchError, recognised by its message, which no server sends: class names do not survive a bundler.
    const said = messageOf(error);
    if (/watch/i.test(said) && !/^[A-Z]+ /.test(said)) return null;
    throw error;
  }
}
