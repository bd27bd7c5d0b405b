/** TLS, and clients that show a certificate: on every client library, for commands and for what is listened to. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTls, type TlsServer } from "../scripts/topologies.ts";
import { LockManager, type RedisClient } from "../src/index.ts";
import { hold, unique, waiting } from "./support/locks.ts";

let server: TlsServer;
beforeAll(async () => {
  server = await startTls({ clientCertificates: true });
});
afterAll(() => server.stop());

const kinds: Record<string, () => Promise<{ client: RedisClient; end(): void }>> = {
  "ioredis 6": async () => {
    const { ca, cert, key } = server;
    const client = new Redis(server.url, { tls: { ca, cert, key } });
    return { client, end: () => client.disconnect() };
  },
  "ioredis 5": async () => {
    const { ca, cert, key } = server;
    const client = new Redis5(server.url, { tls: { ca, cert, key } });
    return { client: client as RedisClient, end: () => client.disconnect() };
  },
  "node-redis 6": async () => {
    const { ca, cert, key } = server;
    const client = createClient({ url: server.url, socket: { tls: true, ca, cert, key } });
    await client.connect();
    return { client, end: () => client.destroy() };
  },
};

test.for(Object.keys(kinds).flatMap((on) => (["lua", "set"] as const).map((scheme) => ({ on, scheme }))))(
  "a lock is taken, waited for, handed on and released over TLS with certificates ($scheme on $on)",
  async ({ on, scheme }, t) => {
    const connect = async (): Promise<LockManager> => {
      const { client, end } = await kinds[on]!();
      const locks = new LockManager(client, { scheme });
      t.onTestFinished(() => locks.close().finally(end));
      return locks;
    };
    const [a, b] = [await connect(), await connect()];
    const name = unique();
    const holder = await hold(a, name);
    const next = b.acquire(name);
    if (scheme === "lua") await waiting(a, name, 1);
    await holder.end();
    const lock = await next;
    await lock.extend();
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    expect(await lock.release()).toBe(true);
  },
);
