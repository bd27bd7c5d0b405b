import { createClient } from "redis";
import { compareAndDelete, mustBeOk, nextToken } from "./bare.ts";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const redis = await createClient({ url }).connect();
  const sha = await redis.scriptLoad(compareAndDelete);
  return {
    async acquire(name, ttl) {
      const token = nextToken();
      mustBeOk(await redis.set(name, token, { condition: "NX", expiration: { type: "PX", value: ttl } }));
      return () => redis.evalSha(sha, { keys: [name], arguments: [token] });
    },
  };
}
