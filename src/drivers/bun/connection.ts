/** Connections of our own, made like the user's client. */
import { serverId } from "../info.ts";
import { sleep } from "../../runtime.ts";
import type { Listener, ListenerEvents } from "../listening/followers.ts";
import type { BunClient, OwnBunClient } from "./library.ts";

function ignore(): void {}

/** How often it is looked whether a connection still stands, in milliseconds: Bun only says when it stands again. */
const LOOK_INTERVAL = 250;

/**
 * A connection of our own that is given up when it breaks: one that Bun opened again has forgotten what it listened to
 * or watched.
 *
 * @param lost called when it broke, or was closed
 */
export async function duplicate(client: BunClient, lost: () => void): Promise<OwnBunClient> {
  const connection = (await client.duplicate()) as OwnBunClient;
  await connection.connect();
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    connection.close();
    lost();
  };
  Object.assign(connection, { onconnect: end, onclose: end });
  const look = (): void => {
    if (isOver) return;
    if (connection.connected) void sleep(LOOK_INTERVAL).then(look);
    else end();
  };
  look();
  return connection;
}

export async function listenOn(client: BunClient, events: ListenerEvents): Promise<Listener> {
  const connection = await duplicate(client, () => events.lost());
  // Asked first, because a connection that subscribes may ask nothing more.
  const info = await connection.send("INFO", ["server"]).catch(ignore);
  const hear = (text: string, channel: string): void => events.message(channel, text);
  return {
    id: serverId(info),
    subscribe: (channel) => connection.subscribe(channel, hear),
    unsubscribe: (channel) => connection.unsubscribe(channel),
    close: () => connection.close(),
  };
}
