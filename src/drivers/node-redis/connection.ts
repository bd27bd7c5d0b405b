/** Connections of our own, made like the user's client. */
import { databaseOf, serverId } from "../info.ts";
import type { Listener, ListenerEvents } from "../listening/followers.ts";
import { messageOf } from "../server-errors.ts";
import { send } from "./library.ts";
import type { NodeRedisClient } from "./library.ts";

type Hear = (text: string, channel: string) => void;

export interface OwnConnection extends NodeRedisClient {
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: Hear): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  sSubscribe(channel: string, listener: Hear): Promise<unknown>;
  sUnsubscribe(channel: string): Promise<unknown>;
  destroy(): void;
  unref(): void;
}

function ignore(): void {}

interface Override {
  readonly reconnectStrategy?: false | ((attempt: number) => number | false);
  readonly database?: number;
  readonly url?: undefined;
}

/** Our own connection, not yet connected. Unless told otherwise it is abandoned when it breaks. */
export function duplicate(
  client: NodeRedisClient,
  { reconnectStrategy = false, ...override }: Override = {},
): OwnConnection {
  const connection = client.duplicate({
    socket: { ...client.options?.socket, reconnectStrategy },
    commandOptions: undefined,
    ...override,
  }) as OwnConnection;
  connection.on("error", ignore);
  // A process that has finished its work must be able to exit without closing its manager, even if its server hangs,
  // which may keep the connection waiting for a long time.
  connection.unref();
  return connection;
}

/** A connection for WATCH, in the same database. */
export async function openSession(client: NodeRedisClient): Promise<OwnConnection> {
  const database = await databaseOf((command) => send(client, command));
  // What the client's URL says has been read; it would count for more than this.
  const connection = duplicate(client, database === undefined ? {} : { database, url: undefined });
  await connection.connect();
  return connection;
}

/** A connection for listening. If it breaks it is abandoned, and another is opened to the right server. */
export async function listenOn(client: NodeRedisClient, events: ListenerEvents): Promise<Listener> {
  const connection = duplicate(client);
  const hear: Hear = (text, channel) => events.message(channel, text);
  connection.on("error", () => events.lost());
  connection.on("end", () => events.lost());
  connection.on("sharded-channel-moved", (channel) => events.lost(String(channel)));
  await connection.connect();
  // Asked first, because a connection that subscribes may ask nothing more.
  const info = await send(connection, ["INFO", "server"]).catch(ignore);
  return {
    id: serverId(info),
    subscribe: (channel, sharded) =>
      sharded ? connection.sSubscribe(channel, hear) : connection.subscribe(channel, hear),
    unsubscribe: (channel, sharded) => (sharded ? connection.sUnsubscribe(channel) : connection.unsubscribe(channel)),
    close: () => destroy(connection),
  };
}

export function destroy(connection: OwnConnection): void {
  try {
    connection.destroy();
  } catch (error) {
    // It says so when it is closed already; there is nothing left to do then.
    if (!/closed/i.test(messageOf(error))) throw error;
  }
}
