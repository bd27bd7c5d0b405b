/** What servers report about themselves and about connections. */

/** A server's id in the form that scripts compare: eight hexadecimal digits. @param info its answer to INFO */
export function serverId(info: unknown): string | undefined {
  return /^run_id:([0-9a-f]{8})/m.exec(String(info))?.[1];
}

/**
 * The database that a connection uses. Its user may have sent SELECT, which not all clients report.
 *
 * @param send on that connection
 * @returns undefined if the server does not say: before 6.2, or to this account
 */
export async function databaseOf(send: (command: readonly string[]) => Promise<unknown>): Promise<number | undefined> {
  const info = await send(["CLIENT", "INFO"]).catch(() => undefined);
  const [, number] = / db=(\d+)/.exec(String(info)) ?? [];
  return number === undefined ? undefined : Number(number);
}

/** What a server does when its memory is full. */
export interface Eviction {
  readonly policy: string;
  /** Bytes; 0 if there is no limit, so that nothing is ever evicted. */
  readonly limit: number;
  /** It deletes keys that have a ttl, as every lock has: true of all policies but `noeviction`. */
  readonly takesLocks: boolean;
}

/** @param field of its answer to INFO memory @returns undefined if it does not say (Redis has since 4.0) */
export function evictionIn(field: (name: string) => string | undefined): Eviction | undefined {
  const policy = field("maxmemory_policy");
  if (!policy) return undefined;
  const limit = Number(field("maxmemory") ?? 0);
  return { policy, limit, takesLocks: limit > 0 && policy !== "noeviction" };
}
