/**
 * Our own connections for WATCH, which belongs to a connection. One that breaks is not reopened, because a new one
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
  readonly idle: Driver[];
  /** Called, one at a time, when a connection has come back or may be opened. */
  readonly waiting: (() => void)[];
}

export class Sessions {
  readonly #driver: Driver;
  /** By server. */
  readonly #pools = new Map<string, Pool>();
  #isClosed = false;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Runs something on a connection to the server that keeps the key. If that fails, the connection is abandoned. */
  async use<T>(key: string, run: (session: Driver) => Promise<T>): Promise<T> {
    const pool = this.#poolOf(this.#driver.ownerOf(key));
    while (pool.count === MOST_SESSIONS && pool.idle.length === 0) {
      await new Promise<void>((resolve) => pool.waiting.push(resolve));
    }
    let session = takeIdle(pool);
    if (!session) pool.count++;
    try {
      session ??= await this.#driver.session(key);
      const result = await run(session);
      if (this.#isClosed) session.close();
      else pool.idle.push(session);
      return result;
    } catch (error) {
      pool.count--;
      session?.close();
      // If the key has moved to another server, the client finds out with the next command.
      if (this.#driver.isCluster) await this.#driver.send(["EXISTS", key], key).catch(() => {});
      throw broken(error);
    } finally {
      pool.waiting.shift()?.();
    }
  }

  /** Have a connection to the server that keeps the key ready. If that fails, it is opened when it is needed. */
  open(key: string): void {
    if (this.#isClosed || this.#poolOf(this.#driver.ownerOf(key)).count > 0) return;
    this.use(key, () => Promise.resolve()).catch(() => {});
  }

  /** Those that are open do not look where the client looks: open new ones from now on. */
  renew(): void {
    for (const pool of this.#pools.values()) {
      pool.count -= pool.idle.length;
      for (const session of pool.idle.splice(0)) session.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.renew();
  }

  #poolOf(server: string): Pool {
    let pool = this.#pools.get(server);
    if (!pool) this.#pools.set(server, (pool = { count: 0, idle: [], waiting: [] }));
    return pool;
  }
}

/** One that works, as far as its client has noticed. A connection that broke while it was idle fails nobody's call. */
function takeIdle(pool: Pool): Driver | undefined {
  for (let session = pool.idle.pop(); session; session = pool.idle.pop()) {
    if (session.drops === 0 && session.complaint === undefined) return session;
    pool.count--;
    session.close();
  }
  return undefined;
}

/** It is our own connection that broke, not the user's: the next call opens another. */
function broken(error: unknown): SchemeError {
  const failure = schemeError(error);
  if (failure.code !== "unreachable") return failure;
  const message = `The connection for WATCH broke: ${messageOf(failure.cause).replace(/\.$/, "")}.`;
  return new SchemeError("unreachable", message, failure.causes, true);
}
