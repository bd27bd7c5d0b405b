/** Connections of our own, made like the user's client. */
import { serverId } from "../info.ts";
import type { Listener, ListenerEvents } from "../listening/followers.ts";
import { plainCall } from "./library.ts";
import type { IoredisClient } from "./library.ts";

interface OwnConnection extends IoredisClient {
  connect(): Promise<void>;
  disconnect(): void;
}

function ignore(): void {}

/** Our own connection, abandoned when it breaks. */
export function duplicate(client: IoredisClient, override: object = {}): OwnConnection {
  const connection = client.duplicate({
    lazyConnect: true,
    retryStrategy: null,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    keyPrefix: "",
    ...override,
  }) as OwnConnection;
  connection.on("error", ignore);
  // A process that has finished its work must be able to exit without closing its manager.
  connection.on("connect", () => connection.stream?.unref?.());
  return connection;
}

export async function listenOn(
  client: IoredisClient,
  events: ListenerEvents,
  override: object = {},
): Promise<Listener> {
  const connection = duplicate(client, { readOnly: false, ...override });
  const call = plainCall(connection);
  const hear = (channel: unknown, text: unknown): void => events.message(String(channel), String(text));
  connection.on("message", hear);
  connection.on("smessage", hear);
  // Not all versions say which channels moved with a slot, so all are checked.
  connection.on("moved", () => events.lost());
  connection.on("error", () => events.lost());
  connection.on("end", () => events.lost());
  await connection.connect();
  // Asked first, because a connection that subscribes may ask nothing more.
  const info = await call(["INFO", "server"]).catch(ignore);
  return {
    id: serverId(info),
    subscribe: (channel, sharded) => call([sharded ? "SSUBSCRIBE" : "SUBSCRIBE", channel]),
    unsubscribe: (channel, sharded) => call([sharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE", channel]),
    close: () => connection.disconnect(),
  };
}

/** Behind Sentinels the server that the client has found, "" while it looks for one; else there is only one. */
export function serverOf({ options, stream }: IoredisClient): string {
  if (!(options as { readonly sentinels?: unknown }).sentinels) return "the server";
  return stream?.remotePort ? `${stream.remoteAddress} ${stream.remotePort}` : "";
}

/**
 * Straight to the server that the client has found: what the Sentinels say by now may be another. By its address, and
 * by the name that its certificate is for.
 */
export function straightTo({ options, stream }: IoredisClient, server: string): object {
  const { sentinels, enableTLSForSentinelMode, tls } = options as Record<string, unknown>;
  if (!sentinels) return {};
  const [host, port] = server.split(" ");
  const byName = stream?._host === undefined ? {} : { servername: stream._host };
  return {
    sentinels: null,
    // A client opened from a Sentinel URL has a connector that asks Sentinels, whatever the options above say.
    Connector: null,
    failoverDetector: false,
    host,
    port: Number(port),
    tls: enableTLSForSentinelMode && tls ? { ...byName, ...tls } : undefined,
  };
}
