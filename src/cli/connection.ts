/** A LockManager over connections of our own, to the servers that the options or the environment name. */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, schemeError } from "../drivers/server-errors.ts";
import { Connections } from "../drivers/url/connect.ts";
import type { Connection } from "../drivers/url/connect.ts";
import { parseUrls } from "../drivers/url/url.ts";
import { LockManager } from "../lock-manager.ts";
import type { ManagerOptions } from "../options/manager.ts";
import { quorumOf } from "../schemes/redlock/verdict.ts";
import { CliError } from "./cli-error.ts";
import { exactDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { failureOf } from "./failures.ts";
import { DEFAULT_SERVER } from "./options.ts";
import type { ConnectionOptions, RunningOptions } from "./options.ts";

const CONNECT_LIMIT = 4_000;
/** How long the end of holdfast may wait for a server that does not answer; leases end by themselves. */
export const CLOSE_LIMIT = 2_000;
/** Of several servers one may be down, and would be waited for each time. */
const CLOSE_LIMIT_OF_SEVERAL = 500;

/** @throws CliError for what several independent servers cannot do together. */
export function refuseOverSeveral(options: ConnectionOptions, what: string): void {
  const urls = serversOf(options);
  if (typeof urls === "string") return;
  throw new CliError(
    ExitCode.usage,
    `${what} needs a single server, but --redis or REDIS_URL names ${urls.length}. ` +
      "Several servers are Redlock, which has no permits, replicas or other schemes.",
  );
}

/** A LockManager for the time of one command. */
export class Session {
  readonly locks: LockManager;
  /** A lock that is taken by force is reported to its holder at once, and not only when it renews its lease. */
  readonly tellsHolders: boolean;
  readonly #connections: Connections;
  #closed: Promise<void> | undefined;

  private constructor(locks: LockManager, connections: Connections, tellsHolders: boolean) {
    this.locks = locks;
    this.#connections = connections;
    this.tellsHolders = tellsHolders;
  }

  /**
   * @param interrupted ends the attempt, with its reason
   * @throws CliError when the server cannot be used, within a bounded time; of several, a majority
   */
  static async open(
    options: ConnectionOptions & Pick<RunningOptions, "replicas">,
    manager: ManagerOptions,
    interrupted?: AbortSignal,
  ): Promise<Session> {
    const { prefix, scheme, replicas } = options;
    if (replicas !== undefined) refuseOverSeveral(options, "--replicas");
    if (scheme !== undefined) refuseOverSeveral(options, "--scheme");
    const connections = connectionsFor(options);
    try {
      const durable = replicas === undefined ? {} : { durability: { replicas } };
      const locks = managerFor(connections, { prefix, scheme, ...manager, ...durable });
      await firstContact(connections.all, interrupted);
      return new Session(locks, connections, connections.all.length === 1 && scheme !== "set");
    } catch (error) {
      connections.close();
      throw error;
    }
  }

  /**
   * Releases and withdraws everything, because no command runs any more. What a server does not hear of within `limit`
   * milliseconds ends there with its lease.
   */
  close(limit?: number): Promise<void> {
    this.#closed ??= (async () => {
      const longest = this.#connections.all.length > 1 ? CLOSE_LIMIT_OF_SEVERAL : CLOSE_LIMIT;
      await Promise.race([this.locks.close({ timeout: 0 }), sleep(limit ?? longest)]);
      this.#connections.close();
    })();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * The servers that --redis or the environment names: one, or several for Redlock.
 *
 * @throws CliError for a REDIS_URL that says nothing: a variable that was not filled in must not mean this machine
 */
function serversOf({ redis }: ConnectionOptions): string | readonly string[] {
  const given = process.env["REDIS_URL"];
  const urls = redis ?? given?.split(/\s+/).filter(Boolean) ?? [DEFAULT_SERVER];
  if (urls.length === 0) {
    const remedy = `Set it to the server's URL, or unset it to use ${DEFAULT_SERVER}.`;
    throw new CliError(ExitCode.usage, `REDIS_URL is empty. ${remedy}`);
  }
  return urls.length > 1 ? urls : (urls[0] as string);
}

/** @throws CliError for URLs that cannot be used, and for a client library that does not load */
export function connectionsFor(options: ConnectionOptions): Connections {
  const servers = serversOf(options);
  try {
    parseUrls(servers);
  } catch (error) {
    const source = options.redis ? "--redis" : "REDIS_URL";
    throw new CliError(ExitCode.usage, `${source}: ${messageOf(error).replace(" of the array", "")}`, { cause: error });
  }
  return new Connections(servers, options.client);
}

/** @throws CliError for a client library of an unknown version: all else that it refuses has been checked */
function managerFor({ client }: Connections, options: ManagerOptions): LockManager {
  try {
    return new LockManager(client, options);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new CliError(ExitCode.unavailable, error.message, { cause: error });
  }
}

/**
 * A connection keeps trying once it has stood. The first time is another matter: who mistypes an address wants to know,
 * and cron must not hang. Resolves when a majority is connected, which is one of one; the others may come later.
 *
 * @throws CliError
 */
export async function firstContact(connections: readonly Connection[], interrupted?: AbortSignal): Promise<void> {
  const waiting = new Set(connections);
  const failed = new Map<Connection, unknown>();
  let [timer, onAbort]: [NodeJS.Timeout | undefined, () => void] = [undefined, () => {}];
  const ended = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const silence = new Error(`no answer within ${exactDuration(CONNECT_LIMIT)}`);
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
  const list = causes.map(({ title, cause }) => `${title}: ${failureOf(cause).message}`).join(" ");
  const which = `a majority of the ${count} servers is needed, and ${causes.length} cannot be used. `;
  return new CliError(ExitCode.unavailable, (count > 1 ? which : "") + list, { cause: causes[0]?.cause });
}
