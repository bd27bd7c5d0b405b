/** What every driver does: send commands and scripts, listen, open connections of its own. A driver knows no lock. */

/** Strings that come once in a script call, and those that come with each item of its batch. */
export interface ScriptStrings {
  call: string[];
  item: string[];
}

/**
 * A Lua script that works on a batch of items, each with keys and arguments of its own. See scripts/generate-lua.ts.
 */
export interface Script<Keys extends ScriptStrings, Args extends ScriptStrings> {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  /** Only for the compiler: the parts of a call. */
  readonly shape?: { keys: Keys; args: Args };
}

export type ClientLibrary = "bun" | "ioredis" | "node-redis" | "glide" | "upstash";

/** A channel being listened to, over a connection of its own. */
export interface Subscription {
  /** True while messages arrive. */
  readonly up: boolean;
  /** The id of the server that they come from, if it is known: eight hexadecimal digits. */
  readonly server?: string | undefined;
  close(): void;
}

export interface SubscriptionEvents {
  message(text: string): void;
  /** The subscription is active: for the first time, or again after a loss. */
  up(): void;
}

/**
 * The adapter to one client library. Rejections are the client's own errors. Where a call takes a `key`, it is one of
 * those that the command names: a Cluster finds its server by it. Without one the command goes to any server.
 */
export interface Driver {
  readonly client: ClientLibrary;
  /** Several servers share the keys, by slots: all keys of one call, and the channels it publishes to, share a slot. */
  readonly isCluster: boolean;
  /** The user's prefix for every key. The driver itself does not add it. */
  readonly keyPrefix: string;
  /** Replies are strings, whatever reply types the user has set for the client. */
  send(command: readonly string[], key?: string): Promise<unknown>;
  /**
   * All on one connection, one right after the other. A command that failed is an Error in the result; rejects if
   * the driver cannot tell whether one connection carried them all.
   */
  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]>;
  /** Everything that `run` sends leaves in one write to each server. */
  together(run: () => void): void;
  /** MULTI … EXEC. Null if a watched key has changed. A command that failed inside is an Error in the result. */
  transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null>;
  /**
   * Resolves when what was sent so far for the key has been handed to the kernel, so that it arrives even if this
   * process is blocked from now on. Pending while the connection is down, so bound it by the call's own outcome;
   * resolves if the client is closed. Never rejects.
   */
  written(key: string): Promise<void>;
  /** How often the connection was lost. If it grew during a call, the client may have sent the call twice. */
  readonly drops: number;
  /** The connection's latest error. */
  readonly complaint: unknown;
  /** The SHAs of the scripts that its servers know, by server. Emptied when a connection is lost. */
  readonly scripts: Map<string, Set<string>>;
  /**
   * Listens on our own connection, and subscribes again after a loss; never rejects. In a Cluster it listens on the
   * server that keeps the channel's slot, and moves with the slot.
   */
  subscribe(channel: string, events: SubscriptionEvents): Subscription;
  /** Our own connection to the server that keeps the key, for WATCH. It is never silently replaced. */
  session(key: string): Promise<Driver>;
  /** Which server keeps the key, as far as the client knows; "" for a single server. */
  ownerOf(key: string): string;
  /** Each server that keeps keys, for commands to all of them. */
  servers(): Promise<readonly Send[]>;
  /**
   * From now on notice with each answer if it comes from another server than the one before, or from one that was
   * restarted, and count that as a loss. Absent if the client reports each loss by itself.
   */
  watchServer?(): void;
  /** Removes our listeners from the user's client, and closes our own connections. */
  close(): void;
}

/** Sends one command. @param key one of its keys */
export type Send = (command: readonly string[], key?: string) => Promise<unknown>;
