/** Where the locks are: the options that say so, the client libraries, and a LockManager over a connection of ours. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { Option } from "commander";
import { schemeError } from "../driver.ts";
import type { RedisClient } from "../drivers/index.ts";
import { LockManager } from "../lock-manager.ts";
import type { ManagerOptions } from "../options.ts";
import { ExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";

const DEFAULT_SERVER = "redis://127.0.0.1:6379";
const CONNECT_LIMIT = 4_000;
/** How long the end of holdfast may wait for a server that does not answer; leases end by themselves. */
const CLOSE_LIMIT = 2_000;
const LONGEST_RECONNECT_PAUSE = 500;

const LIBRARIES = ["ioredis", "redis"] as const;
type Library = (typeof LIBRARIES)[number];

export interface ConnectionOptions {
  readonly redis: string;
  readonly prefix?: string;
  readonly scheme?: "lua" | "set";
  readonly client?: Library;
}

/** The options that every command has. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--redis <url>", "the server; also unix:///path (env: REDIS_URL)").default(
        process.env["REDIS_URL"] || DEFAULT_SERVER,
        DEFAULT_SERVER,
      ),
    )
    .option("--prefix <text>", 'what stands before every key (default: "lock:")')
    .addOption(new Option("--scheme <name>", "how locks are kept (default: lua)").choices(["lua", "set"]))
    .addOption(new Option("--client <library>", "the client library").choices(LIBRARIES).hideHelp());
}

/** A connection that keeps trying, once it has stood. */
interface Connection {
  readonly client: RedisClient;
  /** What the client last complained of: its rejections often say less. */
  readonly complaint: unknown;
  connect(): Promise<unknown>;
  disconnect(): void;
}

/** A LockManager for the time of one command. */
export class Session {
  readonly locks: LockManager;
  readonly #connection: Connection;
  readonly #server: string;
  #closed: Promise<boolean> | undefined;

  private constructor(locks: LockManager, connection: Connection, server: string) {
    this.locks = locks;
    this.#connection = connection;
    this.#server = server;
  }

  /**
   * @param interrupted ends the attempt, with its reason
   * @throws CliError when the server cannot be used, within a bounded time
   */
  static async open(options: ConnectionOptions, manager: ManagerOptions, interrupted?: AbortSignal): Promise<Session> {
    const { redis, prefix, scheme, client } = options;
    const connection = await openConnection(checkServer(redis), client);
    try {
      const locks = new LockManager(connection.client, { prefix, scheme, ...manager });
      const session = new Session(locks, connection, withoutPassword(redis));
      await session.#connect(interrupted);
      return session;
    } catch (error) {
      connection.disconnect();
      throw error;
    }
  }

  /**
   * Release and withdraw everything. False if the server did not answer within `limit` milliseconds: what is left
   * there ends with its lease.
   */
  close(limit: number = CLOSE_LIMIT): Promise<boolean> {
    this.#closed ??= (async () => {
      const heard = this.locks.close().then(() => true);
      const answered = await Promise.race([heard, sleep(limit, false)]);
      this.#connection.disconnect();
      return answered;
    })();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #connect(interrupted: AbortSignal | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const ended = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${CONNECT_LIMIT} ms`)), CONNECT_LIMIT);
      interrupted?.addEventListener("abort", () => reject(interrupted.reason));
    });
    try {
      await Promise.race([this.#connection.connect(), ended]);
    } catch (error) {
      interrupted?.throwIfAborted();
      const cause = schemeError(this.#connection.complaint ?? error);
      throw new CliError(ExitCode.unavailable, `${this.#server}: ${cause.message}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws CliError when no client library is installed */
async function openConnection(server: string, library?: Library): Promise<Connection> {
  for (const name of library ? [library] : LIBRARIES) {
    try {
      return await (name === "ioredis" ? withIoredis(server) : withNodeRedis(server));
    } catch (error) {
      if (!isMissing(error, name)) throw error;
    }
  }
  throw new CliError(
    ExitCode.unavailable,
    `no client library for Redis was found beside holdfast. Install one: npm install ${library ?? "ioredis"}`,
  );
}

async function withIoredis(server: string): Promise<Connection> {
  const { Redis } = await import("ioredis");
  let stood = false;
  let complaint: unknown;
  const settings = {
    lazyConnect: true,
    connectTimeout: CONNECT_LIMIT,
    maxRetriesPerRequest: null,
    retryStrategy: (attempt: number) => (stood ? reconnectPause(attempt) : null),
  };
  const path = socketPath(server);
  const client = path ? new Redis({ path, ...settings }) : new Redis(server, settings);
  client.on("ready", () => (stood = true));
  client.on("error", (error) => (complaint = error));
  return {
    client,
    get complaint() {
      return complaint;
    },
    connect: () => client.connect(),
    disconnect: () => client.disconnect(),
  };
}

async function withNodeRedis(server: string): Promise<Connection> {
  const { createClient } = await import("redis");
  let stood = false;
  let complaint: unknown;
  const settings = {
    connectTimeout: CONNECT_LIMIT,
    reconnectStrategy: (attempt: number, cause: Error) => (stood ? reconnectPause(attempt) : cause),
  };
  const path = socketPath(server);
  const client = path
    ? createClient({ socket: { path, tls: false, ...settings } })
    : createClient({ url: server, socket: settings });
  client.on("ready", () => (stood = true));
  client.on("error", (error) => (complaint = error));
  return {
    client,
    get complaint() {
      return complaint;
    },
    connect: () => client.connect(),
    disconnect: () => {
      if (client.isOpen) client.destroy();
    },
  };
}

function reconnectPause(attempt: number): number {
  return Math.min(25 * 2 ** attempt, LONGEST_RECONNECT_PAUSE);
}

/** True if the package itself is missing, not something that it needs. */
function isMissing(error: unknown, library: Library): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ERR_MODULE_NOT_FOUND" && message.includes(`'${library}'`);
}

/** @throws CliError */
function checkServer(url: string): string {
  const usable = socketPath(url) !== undefined || (/^rediss?:\/\//.test(url) && URL.canParse(url));
  if (usable) return url;
  const form = "redis://[[user]:password@]host[:port][/database], rediss://… for TLS, or unix:///path";
  throw new CliError(
    ExitCode.usage,
    `Expected the server (--redis, REDIS_URL) as ${form}; got ${withoutPassword(url)}.`,
  );
}

function socketPath(server: string): string | undefined {
  return /^(?:unix:\/\/)?(\/.+)$/.exec(server)?.[1];
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/]*@/, "//…@").replace(/^[^/]*@/, "…@");
}
