/** Where the locks are: the options that say so, and a LockManager over connections of ours. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { schemeError } from "../drivers/server-errors.ts";
import { Connections, LIBRARIES } from "../drivers/url/connect.ts";
import type { Connection, Library } from "../drivers/url/connect.ts";
import { LockManager } from "../lock-manager.ts";
import type { ManagerOptions } from "../options/manager.ts";
import { quorumOf } from "../schemes/redlock/verdict.ts";
import { ExitCode } from "./exit-codes.ts";
import { CliError } from "./failures.ts";

const DEFAULT_SERVER = "redis://127.0.0.1:6379";
const CONNECT_LIMIT = 4_000;
/** How long the end of holdfast may wait for a server that does not answer; leases end by themselves. */
export const CLOSE_LIMIT = 2_000;
/** Of several servers one may be down, and would be waited for each time. */
const CLOSE_LIMIT_OF_SEVERAL = 500;

export interface ConnectionOptions {
  /** Each of an independent server; undefined if left out. */
  readonly redis?: readonly string[];
  readonly prefix?: string;
  readonly scheme?: "lua" | "set";
  readonly client?: Library;
  /** Of those commands that take locks. */
  readonly replicas?: number;
}

/** The options that every command has. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--redis <url>",
        `the server; repeat it for Redlock (default: $REDIS_URL,\nelse ${DEFAULT_SERVER})`,
      ).argParser(append),
    )
    .option("--prefix <text>", 'what stands before every key (default: "lock:")')
    .addOption(new Option("--scheme <name>", "how locks are kept (default: lua)").choices(["lua", "set"]))
    .addOption(new Option("--client <library>", "the client library").choices(LIBRARIES).hideHelp())
    .addHelpText("after", SERVERS_HELP);
}

/** For options that can be repeated. */
export function append(value: string, all: readonly string[] = []): string[] {
  return [...all, value];
}

const SERVERS_HELP = `
Servers:
  redis://[[user]:password@]host[:port][/db]    rediss:// for TLS
  unix://[[user]:password@]/path[?db=N]
  redis+sentinel://[user:password@]host[:port][,host...]/master[/db]
  redis+cluster://[user:password@]host[:port][,host...]
REDIS_URL may hold several, separated by spaces, for Redlock.`;

/** The option of those commands that take locks. */
export function addReplicasOption(command: Command): Command {
  return command.addOption(
    new Option("--replicas <n>", "a grant counts once so many replicas have it").argParser(parseReplicas),
  );
}

/** @throws InvalidArgumentError */
function parseReplicas(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Expected a whole number of at least 1.");
}

/** @throws CliError for what several independent servers cannot do together. */
export function refuseOverSeveral(options: ConnectionOptions, what: string): void {
  const urls = serversOf(options);
  if (typeof urls === "string") return;
  throw new CliError(
    ExitCode.usage,
    `expected one server with ${what}; got ${urls.length} (--redis, REDIS_URL). ` +
      "Over several servers, which is Redlock, there are plain exclusive locks only.",
  );
}

/** A LockManager for the time of one command. */
export class Session {
  readonly locks: LockManager;
  readonly #connections: Connections;
  #closed: Promise<void> | undefined;

  private constructor(locks: LockManager, connections: Connections) {
    this.locks = locks;
    this.#connections = connections;
  }

  /**
   * @param interrupted ends the attempt, with its reason
   * @throws CliError when the server cannot be used, within a bounded time; of several, a majority
   */
  static async open(options: ConnectionOptions, manager: ManagerOptions, interrupted?: AbortSignal): Promise<Session> {
    const { prefix, scheme, replicas } = options;
    if (replicas !== undefined) refuseOverSeveral(options, "--replicas");
    if (scheme !== undefined) refuseOverSeveral(options, "--scheme");
    const connections = connectionsFor(options);
    try {
      const durable = replicas === undefined ? {} : { durability: { replicas } };
      const locks = new LockManager(connections.client, { prefix, scheme, ...manager, ...durable });
      await firstContact(connections.all, interrupted);
      return new Session(locks, connections);
    } catch (error) {
      connections.close();
      throw error;
    }
  }

  /**
   * Release and withdraw everything; what a server does not hear of within `limit` milliseconds ends there with its
   * lease.
   */
  close(limit?: number): Promise<void> {
    this.#closed ??= (async () => {
      const longest = this.#connections.all.length > 1 ? CLOSE_LIMIT_OF_SEVERAL : CLOSE_LIMIT;
      await Promise.race([this.locks.close(), sleep(limit ?? longest)]);
      this.#connections.close();
    })();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What --redis or the environment says: one server, or several for Redlock. */
function serversOf({ redis }: ConnectionOptions): string | readonly string[] {
  const urls = redis ?? process.env["REDIS_URL"]?.split(/\s+/).filter(Boolean) ?? [];
  return urls.length > 1 ? urls : (urls[0] ?? DEFAULT_SERVER);
}

/** @throws CliError */
function connectionsFor(options: ConnectionOptions): Connections {
  try {
    return new Connections(serversOf(options), options.client);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const source = options.redis ? "--redis" : "REDIS_URL";
    throw new CliError(ExitCode.usage, `${source}: ${error.message}`, { cause: error });
  }
}

/**
 * A connection keeps trying once it has stood. The first time is another matter: who mistypes an address wants to know,
 * and cron is not to hang. Resolves when a majority stands, that is one of one; the others may come later.
 *
 * @throws CliError
 */
async function firstContact(connections: readonly Connection[], interrupted?: AbortSignal): Promise<void> {
  const waiting = new Set(connections);
  const failed = new Map<Connection, unknown>();
  let [timer, onAbort]: [NodeJS.Timeout | undefined, () => void] = [undefined, () => {}];
  const ended = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const silence = new Error(`no answer within ${CONNECT_LIMIT} ms`);
      for (const each of waiting) failed.set(each, each.complaint ?? silence);
      reject(silence);
    }, CONNECT_LIMIT);
    onAbort = () => reject(interrupted?.reason);
    interrupted?.addEventListener("abort", onAbort);
  });
  const attempts = connections.map(async (each) => {
    try {
      await each.open();
    } catch (error) {
      failed.set(each, each.complaint ?? error);
      throw error;
    } finally {
      waiting.delete(each);
    }
  });
  try {
    await Promise.race([majority(attempts), ended]);
  } catch {
    interrupted?.throwIfAborted();
    throw cannotUse(connections.length, failed);
  } finally {
    clearTimeout(timer);
    interrupted?.removeEventListener("abort", onAbort);
  }
}

/** Resolves when more than half of them have; rejects when that cannot be any more. */
function majority(attempts: readonly Promise<void>[]): Promise<void> {
  const needed = quorumOf(attempts.length);
  let [stood, failed] = [0, 0];
  return new Promise((resolve, reject) => {
    for (const attempt of attempts) {
      attempt.then(
        () => ++stood === needed && resolve(),
        (error: unknown) => ++failed > attempts.length - needed && reject(error),
      );
    }
  });
}

/** @param failed those that do not stand, and why */
function cannotUse(count: number, failed: ReadonlyMap<Connection, unknown>): CliError {
  const causes = [...failed].map(([{ place }, why]) => ({ title: place.title, cause: schemeError(why) }));
  const list = causes.map(({ title, cause }) => `${title}: ${cause.message}`).join(" ");
  const which = `a majority of the ${count} servers is needed, and ${causes.length} cannot be used. `;
  return new CliError(ExitCode.unavailable, (count > 1 ? which : "") + list, { cause: causes[0]?.cause });
}
