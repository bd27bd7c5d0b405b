/**
 * Connections of our own for WATCH, which belongs to a connection. One that breaks is not mended, because a new one
 * would have forgotten the WATCH; the next batch opens another.
 */
import type { Driver } from "../../drivers/driver.ts";
import { messageOf, schemeError } from "../../drivers/server-errors.ts";
import { SchemeError } from "../../errors.ts";

/** To each server. Only in a Cluster are there batches, of different slots, that need more than one. */
const MOST_SESSIONS = 8;

/** The connections to one server. */
interface Pool {
  /** How many there are, open or opening. */
  count: number;
  readonly idle: Session[];
  /** Called, one at a time, when a connection has come back or may be opened. */
  readonly waiting: (() => void)[];
}

interface Session {
  readonly driver: Driver;
  /** Where it was sent to look, if anywhere. */
  readonly database: string | undefined;
}

export class Sessions {
  readonly #driver: Driver;
  /** By server. */
  readonly #pools = new Map<string, Pool>();
  /** The database that the client was moved to after it was made. */
  #database: string | undefined;
  #isClosed = false;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Run something on a connection to the server that keeps the key. If that fails, the connection is given up. */
  async use<T>(key: string, run: (session: Driver) => Promise<T>): Promise<T> {
    const pool = this.#poolOf(this.#driver.ownerOf(key));
    while (pool.count === MOST_SESSIONS && pool.idle.length === 0) {
      await new Promise<void>((resolve) => pool.waiting.push(resolve));
    }
    let session = pool.idle.pop();
    if (!session) pool.count++;
    try {
      session = await this.#open(key, session);
      const result = await run(session.driver);
      if (this.#isClosed) session.driver.close();
      else pool.idle.push(session);
      return result;
    } catch (error) {
      pool.count--;
      session?.driver.close();
      // If the key has moved to another server, the client finds out with the next command.
      if (this.#driver.isCluster) await this.#driver.send(["EXISTS", key], key).catch(() => {});
      throw broken(error);
    } finally {
      pool.waiting.shift()?.();
    }
  }

  /**
   * Look where the client looks: its user may have moved it to another database with SELECT, which a connection that is
   * opened like it does not know.
   *
   * @throws SchemeError if the server does not tell where the client is
   */
  async follow(): Promise<void> {
    try {
      const database = /(?:^| )db=(\d+)/.exec(await this.#clientInfo())?.[1];
      if (database === undefined) throw new Error("no db= in the reply");
      this.#database = database;
    } catch (error) {
      throw unknownDatabase(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { idle } of this.#pools.values()) for (const { driver } of idle.splice(0)) driver.close();
  }

  #poolOf(server: string): Pool {
    let pool = this.#pools.get(server);
    if (!pool) this.#pools.set(server, (pool = { count: 0, idle: [], waiting: [] }));
    return pool;
  }

  /** The user's connection, as the server sees it. */
  async #clientInfo(): Promise<string> {
    try {
      return String(await this.#driver.send(["CLIENT", "INFO"]));
    } catch (error) {
      // It came with Redis 6.2.
      if (!/unknown subcommand/i.test(messageOf(error))) throw error;
      const id = String(await this.#driver.send(["CLIENT", "ID"]));
      const all = String(await this.#driver.send(["CLIENT", "LIST"]));
      return all.split("\n").find((line) => line.startsWith(`id=${id} `)) ?? "";
    }
  }

  /** @param session one that is open, if it looks where it should */
  async #open(key: string, session: Session | undefined): Promise<Session> {
    const database = this.#database;
    if (session && session.database === database) return session;
    session?.driver.close();
    const driver = await this.#driver.session(key);
    try {
      if (database !== undefined) await driver.send(["SELECT", database]);
      return { driver, database };
    } catch (error) {
      driver.close();
      throw error;
    }
  }
}

/** It is our own connection that broke, not the user's: the next call opens another. */
function broken(error: unknown): SchemeError {
  const failure = schemeError(error);
  if (failure.code !== "unreachable") return failure;
  const message = `The connection for WATCH broke: ${messageOf(failure.cause)}.`;
  return new SchemeError("unreachable", message, failure.causes, true);
}

function unknownDatabase(cause: unknown): SchemeError {
  return new SchemeError(
    "server",
    'The scheme "set" needs a connection of its own to this server, and cannot find out which database the client has ' +
      `selected (CLIENT INFO: ${messageOf(cause)}). Name the database when you make the client: new Redis({ db: 5 }).`,
    [cause],
  );
}
