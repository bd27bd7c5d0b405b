/** Clients of GLIDE for tests: silent, and loaded only where they are used, for their native part is large. */
import type { GlideClient, GlideClusterClient } from "@valkey/valkey-glide";

export interface OpenGlide {
  readonly client: GlideClient;
  end(): void;
}

export async function openGlide(url: string, settings: object = {}): Promise<OpenGlide> {
  const { GlideClient: Client, Logger } = await import("@valkey/valkey-glide");
  Logger.setLoggerConfig("off"); // else it prints each error that a test provokes
  const { hostname, port, username, password } = new URL(url);
  const credentials = password ? { credentials: { ...(username && { username }), password } } : {};
  const config = { addresses: [{ host: hostname, port: Number(port) }], ...credentials, ...settings };
  const client = await Client.createClient(config);
  return { client, end: () => client.close() };
}

/** The same for a cluster. */
export async function openGlideCluster(
  addresses: readonly { readonly host: string; readonly port: number }[],
): Promise<{ readonly client: GlideClusterClient; end(): void }> {
  const { GlideClusterClient: Client, Logger } = await import("@valkey/valkey-glide");
  Logger.setLoggerConfig("off");
  const client = await Client.createClient({ addresses: [...addresses], requestTimeout: 2_000 });
  return { client, end: () => client.close() };
}
