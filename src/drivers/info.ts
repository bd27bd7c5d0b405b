/** What servers tell of themselves and of connections. */

/** What a server calls itself, as scripts compare it: eight hexadecimal digits. @param info its answer to INFO */
export function serverId(info: unknown): string | undefined {
  return /^run_id:([0-9a-f]{8})/m.exec(String(info))?.[1];
}

/**
 * The database that a connection is in. Its user may have sent SELECT, of which not all clients tell.
 *
 * @param send on that connection
 * @returns undefined if the server does not tell: before 6.2, or to this account
 */
export async function databaseOf(send: (command: readonly string[]) => Promise<unknown>): Promise<number | undefined> {
  const info = await send(["CLIENT", "INFO"]).catch(() => undefined);
  const [, number] = / db=(\d+)/.exec(String(info)) ?? [];
  return number === undefined ? undefined : Number(number);
}
