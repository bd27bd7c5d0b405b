/** What every driver does: send commands and scripts, listen, open connections of its own. A driver knows no lock. */

/** Strings that come once in a script call, and those that come with each item of its batch. */
export interface ScriptStrings {
  call: string[];
  item: string[];
}

/** A Lua script that works on a batch of items, each with keys and arguments of its own. See scripts/generate-lua.ts. */
export interface Script<Keys extends ScriptStrings, Args extends ScriptStrings> {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  /** Only for the compiler: what a call is made of. */
  readonly shape?: { keys: Keys; args: Args };
}

export type ClientLibrary = "bun" | "ioredis" | "node-redis" | "glide" | "upstash";

/** A channel being listened to, over a connection of its own. */
export interface Subscription {
  /** True while messages arrive. */
  readonly up: boolean;
  /** The id of the server that they come from, where that is known: eight hexadecimal digits. */
  readonly server?: string | undefined;
  close(): void;
}

export interface SubscriptionEvents {
  message(text: string): void;
  /** The subscription stands: for the first time, or again after a loss. */
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
  /** What the client's user wants before every key. The driver itself puts nothing there. */
  readonly keyPrefix: string;
  /** Strings come back as strings, whatever the client's own commands are set to. */
  send(command: readonly string[], key?: string): Promise<unknown>;
  /**
   * All on one connection, one right behind the other. A command that failed is an Error in the result; rejects if
   * the driver cannot tell whether one connection carried them all.
   */
  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]>;
  /** What is sent in the course of `run` leaves in one write to each server. */
  together(run: () => void): void;
  /** MULTI … EXEC. Null when a watched key has changed. A command that failed inside is an Error in the result. */
  transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null>;
  /**
   * Resolves when what was sent so far for the key has been handed to the kernel, so that it arrives even if this
   * process is blocked from now on. Pending while the connection is down, so bound it by the call's own outcome;
   * resolves if the client is closed. Never rejects.
   */
  written(key: string): Promise<void>;
  /** How often the connection was lost. If it grew during a call, the client may have sent the call twice. */
  readonly drops: number;
  /** What the connection last complained of. */
  readonly complaint: unknown;
  /** The SHAs of the scripts that its servers know, by server. Emptied when a connection is lost. */
  readonly scripts: Map<string, Set<string>>;
  /**
   * Listen on a connection of our own. Comes back by itself after a loss; never rejects. In a Cluster it listens on the
   * server that keeps the channel's slot, and moves with the slot.
   */
  subscribe(channel: string, events: SubscriptionEvents): Subscription;
  /** A connection of our own to the server that keeps the key, never silently replaced, for WATCH. */
  session(key: string): Promise<Driver>;
  /** Which server keeps the key, as far as the client knows; one that is there alone is "". */
  ownerOf(key: string): string;
  /** Each server that keeps keys, for what concerns all of them. */
  servers(): Promise<readonly Send[]>;
  /**
   * From now on notice with each answer if it comes from another server than the one before, or from one that was
   * restarted, and count that as a loss. Absent where the client reports each loss by itself.
   */
  watchServer?(): void;
  /** Take our listeners off the user's client; close what is ours. */
  close(): void;
}

/** Sends one command. @param key one of its keys */
export type Send = (command: readonly string[], key?: string) => Promise<unknown>;
