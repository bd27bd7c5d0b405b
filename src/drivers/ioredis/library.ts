/** The parts of ioredis' (5 and 6) and iovalkey's clients that we use, and how commands are sent with them. */
import type { Emitter } from "../health.ts";

/** What all clients have. */
export interface IoredisCommands extends Emitter {
  call(command: string, args: string[]): Promise<unknown>;
  multi(commands: string[][]): Pipeline;
}

export interface Pipeline {
  exec(): Promise<[Error | null, unknown][] | null>;
}

/** Clients, clusters and pipelines alike; their types do not say it of all. */
interface Commander {
  readonly call: (command: string, args: string[]) => unknown;
  sendCommand(command: object): unknown;
}

interface Stream {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  /** The name whose address was looked up, as Node keeps it; undefined if an address was given. */
  readonly _host?: string;
  readonly writable?: boolean;
  readonly writableLength?: number;
  cork?(): unknown;
  uncork?(): unknown;
  unref?(): unknown;
}

/** A client of one server, which Sentinels may name. */
export interface IoredisClient extends IoredisCommands {
  readonly status: string;
  readonly options: object;
  readonly stream?: Stream;
  connect?(): Promise<void>;
  duplicate(override?: object): IoredisClient;
}

/** A Cluster. It redirects, and finds out which server keeps which slots, by itself. */
export interface IoredisCluster extends IoredisCommands {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options: object;
  /** By slot: the addresses of its servers, the primary first. */
  readonly slots: readonly (readonly string[] | undefined)[];
  nodes(role: "all" | "master"): IoredisClient[];
  pipeline(commands: string[][]): Pipeline;
  refreshSlotsCache(done: () => void): void;
}

export function isIoredis(client: object): client is IoredisClient {
  const seen = client as Partial<IoredisClient> & { readonly isCluster?: boolean };
  return (
    typeof seen.call === "function" &&
    typeof seen.multi === "function" &&
    typeof seen.duplicate === "function" &&
    typeof seen.status === "string" &&
    !seen.isCluster
  );
}

export function isIoredisCluster(client: object): client is IoredisCluster {
  const seen = client as Partial<IoredisCluster>;
  return seen.isCluster === true && typeof seen.call === "function" && typeof seen.nodes === "function";
}

/**
 * Its `call` without what the user's options make of it: a prefix before keys, which stands inside of no hash tag, and
 * auto-pipelining, which holds a command back until the one before is answered. `call` takes both from the options of
 * whatever it is called on. Names are in lower case because iovalkey finds the keys of no others.
 */
export function plainCall(to: IoredisCommands | Pipeline): (command: readonly string[]) => Promise<unknown> {
  const commander = to as unknown as Commander;
  const bare = { options: {}, sendCommand: (command: object) => commander.sendCommand(command) };
  return (command) => {
    const [name = ""] = command;
    return Reflect.apply(commander.call, bare, [name.toLowerCase(), command.slice(1)]) as Promise<unknown>;
  };
}

/** MULTI … EXEC. */
export async function exec(
  client: IoredisCommands,
  commands: readonly (readonly string[])[],
): Promise<unknown[] | null> {
  const transaction = client.multi([]);
  const add = plainCall(transaction);
  for (const command of commands) void add(command);
  const replies = await transaction.exec().catch((error: { readonly previousErrors?: Error[] }) => {
    // EXECABORT only says that some command was refused; this says which, and why.
    throw error.previousErrors?.[0] ?? error;
  });
  return replies && replies.map(([error, value]) => error ?? value);
}

/** Whether everything passed to the client has reached the kernel, or never will because it is closed. */
export function isWritten({ status, stream }: IoredisClient): boolean {
  return status === "end" || (status === "ready" && stream?.writable === true && stream.writableLength === 0);
}
