/** The parts of @valkey/valkey-glide's clients (2.3 and later) that we use, how they are opened, and their replies. */

/** Either of its clients. Its `config` is there, too, but private for the compiler. */
export interface GlideClient {
  customCommand(command: string[], options?: object): Promise<unknown>;
  exec(batch: object, raiseOnError: boolean, options?: object): Promise<unknown[] | null>;
  getSubscriptions(): Promise<object>;
  updateConnectionPassword(password: string | null): Promise<unknown>;
}

/** Its cluster client. */
export interface GlideClusterClient extends GlideClient {
  ssubscribe(channels: Set<string>, timeoutMs: number): Promise<void>;
}

/** To which of a cluster's servers a command goes. */
export type Route =
  | { readonly type: "primarySlotKey"; readonly key: string }
  | { readonly type: "routeByAddress"; readonly host: string; readonly port: number }
  | "allPrimaries"
  | "randomNode";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What is used of a client that we opened ourselves. */
export interface OwnGlideClient extends GlideClient {
  readonly socket?: { unref?(): unknown };
  subscribe(channels: Set<string>, timeoutMs: number): Promise<unknown>;
  unsubscribe(channels: Set<string>, timeoutMs: number): Promise<unknown>;
  ssubscribe(channels: Set<string>, timeoutMs: number): Promise<unknown>;
  sunsubscribe(channels: Set<string>, timeoutMs: number): Promise<unknown>;
  getSubscriptions(): Promise<{ readonly actualSubscriptions: Readonly<Record<number, Set<unknown> | undefined>> }>;
  close(): void;
}

/** A class of clients, and what one of them was made with: it keeps that, its credentials too. */
export interface GlideOrigin {
  readonly constructor: { createClient(config: object): Promise<OwnGlideClient> };
  readonly config: object;
}

export function looksLikeGlide(client: object): client is GlideClient {
  const seen = client as Partial<GlideClient & GlideOrigin>;
  return (
    typeof seen.customCommand === "function" &&
    typeof seen.exec === "function" &&
    typeof seen.updateConnectionPassword === "function" &&
    // What came before 2.3 cannot say whether it is subscribed.
    typeof seen.getSubscriptions === "function" &&
    typeof seen.config === "object"
  );
}

/** How soon a connection of ours is tried again: after 50 ms, then ever later, at most every 1.6 s. */
const BACKOFF = { numberOfRetries: 5, factor: 50, exponentBase: 2 };

/**
 * Open a client of our own: connected as the user's is, to primaries only. There is no `duplicate()`; but each client
 * keeps the configuration that it was made with, and its class makes another.
 */
export async function openLike(client: GlideClient, settings: object = {}): Promise<OwnGlideClient> {
  const { constructor, config } = client as unknown as GlideOrigin;
  const { advancedConfiguration } = config as { readonly advancedConfiguration?: object };
  const opening = constructor.createClient({
    ...config,
    // RESP3, whatever the user speaks: only there is it that one connection listens and answers.
    protocol: 0,
    readFrom: "primary",
    lazyConnect: false,
    requestTimeout: 1_000,
    connectionBackoff: BACKOFF,
    advancedConfiguration: { ...advancedConfiguration, pubsubReconciliationIntervalMs: 500 },
    pubsubSubscriptions: undefined,
    clientSideCache: undefined,
    clientCircuitBreaker: undefined,
    compression: undefined,
    ...settings,
  });
  const opened = await opening.catch((error: unknown) => {
    throw new Said(error);
  });
  // A process that has finished its work must be able to exit without closing its manager.
  opened.socket?.unref?.();
  return opened;
}

/**
 * Close a client of ours when all that it was told has been written: else it complains on the console. An answer that
 * needs no server says so.
 */
export function closeOwn(client: OwnGlideClient): void {
  client
    .getSubscriptions()
    .catch(() => {})
    .finally(() => client.close());
}

/** Strings, whatever reply types the user has set. */
export const AS_STRINGS = { decoder: 1 };

/**
 * As its class `Batch` builds it, which cannot be had from a client. What travels to its native part are numbers and
 * bytes in the order of a protocol buffer; 1 stands for a command of any name.
 */
export function batchOf(commands: readonly (readonly string[])[], isAtomic: boolean): object {
  return {
    isAtomic,
    setCommandsIndexes: [],
    commands: commands.map((command) => ({
      requestType: 1,
      argsArray: { args: command.map((word) => Buffer.from(word)) },
    })),
  };
}

interface Entry {
  readonly key: unknown;
  readonly value: unknown;
}

function isEntry(value: unknown): value is Entry {
  return typeof value === "object" && value !== null && "key" in value && "value" in value;
}

/** A reply as RESP2 has it: GLIDE makes records of what is a list of names and values, and says true for 1. */
export function plain(reply: unknown): unknown {
  if (typeof reply === "boolean") return Number(reply);
  if (reply instanceof Set) return [...reply];
  if (Array.isArray(reply) && reply.length > 0 && reply.every(isEntry)) {
    return reply.flatMap(({ key, value }) => [key, value]);
  }
  return reply;
}

/** The words that servers begin their errors with, by what GLIDE makes of them. Other words it leaves alone. */
const WORDS: Readonly<Record<string, string>> = {
  ResponseError: "ERR",
  ExecAbortError: "EXECABORT",
  BusyLoadingError: "LOADING",
  NoScriptError: "NOSCRIPT",
  Moved: "MOVED",
  Ask: "ASK",
  TryAgain: "TRYAGAIN",
  ClusterDown: "CLUSTERDOWN",
  CrossSlot: "CROSSSLOT",
  MasterDown: "MASTERDOWN",
  ReadOnly: "READONLY",
  NotBusy: "NOTBUSY",
  PermissionDenied: "NOPERM",
};
const KNOWN = /^An error was signalled by the server\W+(\w+): ?/;
const OTHER = /^([A-Z][A-Z0-9]+): ?/;
/** A connection that the server refused. */
const REFUSED = /^(?:Connection error|Standalone connect|Cluster connect)[^]*?: ([A-Z][A-Z0-9]+): ?/;

/** An error in the server's own words, where they are the server's. */
export class Said extends Error {
  /** False where the connection failed: what was sent may have run all the same. */
  readonly byServer: boolean;

  constructor(error: unknown) {
    const text = (error instanceof Error ? error.message : String(error)).trim();
    const [found, word = ""] = KNOWN.exec(text) ?? OTHER.exec(text) ?? REFUSED.exec(text) ?? [];
    super(found === undefined ? ownWords(error, text) : `${WORDS[word] ?? word} ${text.slice(found.length)}`, {
      cause: error,
    });
    this.byServer = found !== undefined;
  }

  get isClosed(): boolean {
    return this.message === CLOSED;
  }
}

const CLOSED = "The client is closed";

/** GLIDE's own messages that other code must recognise. */
function ownWords(error: unknown, text: string): string {
  // All that it reached are replicas.
  if (text.includes("No primary node found")) return `READONLY ${text}`;
  const isClosed = text.includes("client is closed") || (error instanceof Error && error.name === "ClosingError");
  return isClosed ? CLOSED : text;
}

/** The replies of a batch, errors among them. */
export function plainAll(replies: readonly unknown[]): unknown[] {
  return replies.map((reply) => (reply instanceof Error ? new Said(reply) : plain(reply)));
}
