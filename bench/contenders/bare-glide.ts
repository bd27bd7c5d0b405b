import { GlideClient, Script, TimeUnit } from "@valkey/valkey-glide";
import { compareAndDelete, mustBeOk, nextToken } from "./bare.ts";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const { hostname, port } = new URL(url);
  const glide = await GlideClient.createClient({ addresses: [{ host: hostname, port: Number(port) }] });
  const script = new Script(compareAndDelete);
  return {
    async acquire(name, ttl) {
      const token = nextToken();
      const expiry = { type: TimeUnit.Milliseconds, count: ttl } as const;
      mustBeOk(await glide.set(name, token, { conditionalSet: "onlyIfDoesNotExist", expiry }));
      return () => glide.invokeScript(script, { keys: [name], args: [token] });
    },
  };
}
