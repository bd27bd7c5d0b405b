import { get } from "node:http";
import Fastify from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import holdfast from "../../src/fastify.ts";
import { LockManager } from "../../src/index.ts";
import { TestLocks } from "../../src/testing.ts";

let server: Server;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

function text(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      let all = "";
      response.setEncoding("utf8").on("data", (part: string) => (all += part));
      response.once("end", () => resolve(all));
    }).once("error", reject);
  });
}

test("app.locks is there in all of the application, and closed once its requests have ended", async () => {
  const app = Fastify();
  await app.register(holdfast, { redis: server.url, prefix: "app:" });
  let entered = (): void => {};
  const inside = new Promise<void>((resolve) => (entered = resolve));
  let leave = (): void => {};
  const left = new Promise<void>((resolve) => (leave = resolve));
  await app.register(async (scope) => {
    scope.get("/slow", () =>
      scope.locks.request("a", async (lock) => {
        entered();
        await left;
        return { held: lock.held, aborted: lock.signal.aborted };
      }),
    );
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  // One request a connection, because Fastify waits for connections that are kept alive.
  const answer = text(`${url}/slow`);
  await inside;
  const other = new LockManager(server.url, { prefix: "app:" });
  expect((await other.query({ name: "a" })).held).toHaveLength(1);
  await other.close();
  const closed = app.close();
  leave();
  expect(JSON.parse(await answer)).toEqual({ held: true, aborted: false });
  await closed;
  await expect(app.locks.query()).rejects.toMatchObject({ code: "closed" });
});

test("it can be registered once, closes what it opened, and needs redis", async () => {
  const locks = new TestLocks("real time");
  const twice = Fastify();
  await twice.register(holdfast, { redis: locks });
  twice.register(holdfast, { redis: locks });
  await expect(twice.ready()).rejects.toThrow("The decorator 'locks' has already been added!");
  await twice.close();
  const without = Fastify();
  without.register(holdfast, { redis: undefined as never });
  await expect(without.ready()).rejects.toThrow("The plugin holdfast/fastify needs redis: a URL or a client");
});
