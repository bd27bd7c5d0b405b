/** Servers, and clients of them as several processes would have them, for one test. */
import { createHash } from "node:crypto";
import { Redis } from "ioredis";
import { startServer, type Server } from "../../scripts/servers.ts";
import type { Finishing } from "../support/stage.ts";

export interface Machines {
  readonly servers: Server[];
  /** A client of each server. */
  clients(settings?: object): Redis[];
}

export async function openMachines(t: Finishing, count: number): Promise<Machines> {
  const servers = await Promise.all(Array.from({ length: count }, () => startServer()));
  t.onTestFinished(async () => {
    for (const server of servers) server.thaw();
    await Promise.all(servers.map((server) => server.stop()));
  });
  return {
    servers,
    clients: (settings = {}) =>
      servers.map(({ url }) => {
        const redis = new Redis(url, { retryStrategy: () => 20, ...settings });
        redis.on("error", () => {});
        t.onTestFinished(() => redis.disconnect());
        return redis;
      }),
  };
}

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    (value) => {
      throw new Error(`Expected a rejection; got ${String(value)}.`);
    },
    (error: unknown) => error as Error,
  );
}

export function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
