/** The dashboard mounted in servers, as docs/dashboard.md shows it, beside routes and body parsers of the program's own. */
import type { RequestListener } from "node:http";
import { createRequire } from "node:module";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDashboard, nodeHandler } from "../../src/dashboard.ts";
import type { Dashboard } from "../../src/dashboard.ts";
import { LockManager } from "../../src/index.ts";
import { serve, viewWhere } from "../support/dashboards.ts";
import { hold } from "../support/locks.ts";
import { until } from "../support/until.ts";

let locks: LockManager;
let dashboard: Dashboard;

beforeAll(() => {
  locks = new LockManager();
  dashboard = createDashboard(locks, { poll: 100, readOnly: false, authorize: () => true });
});
afterAll(() => locks.close());

/** The common part of Express 4 and 5. */
type Express = typeof express;
const express4 = createRequire(import.meta.url)("express4") as Express;

function inExpress(make: Express): RequestListener {
  const app = make();
  app.use("/locks", nodeHandler(dashboard));
  app.use(make.json());
  app.post("/own", (request, response) => void response.json(request.body));
  return app;
}

const SERVERS: Record<string, () => RequestListener | Promise<RequestListener>> = {
  "Express 5": () => inExpress(express),
  "Express 4": () => inExpress(express4),
  Fastify: async () => {
    const app = Fastify();
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
      scope.all("/locks/*", (request, reply) => {
        reply.hijack();
        nodeHandler(dashboard)(request.raw, reply.raw);
      });
    });
    app.post("/own", (request) => request.body);
    await app.ready();
    return (request, response) => app.routing(request, response);
  },
  Hono: () => {
    const app = new Hono();
    app.all("/locks/*", (context) => dashboard.fetch(context.req.raw));
    app.post("/own", async (context) => context.json(await context.req.json()));
    return nodeHandler({ fetch: async (request) => app.fetch(request) });
  },
  "Hono, which takes the path away": () => {
    const app = new Hono();
    app.mount("/locks", dashboard.fetch);
    app.post("/own", async (context) => context.json(await context.req.json()));
    return nodeHandler({ fetch: async (request) => app.fetch(request) });
  },
};

test.each(Object.keys(SERVERS))("%s: page, events and what is posted", async (name) => {
  const listener = await (SERVERS[name] as () => RequestListener | Promise<RequestListener>)();
  const { url, close } = await serve(listener);
  const held = await hold(locks, name, { label: "the holder" });
  const post = (path: string, body: object): Promise<Response> => {
    const headers = { "content-type": "application/json", origin: url };
    return fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  };
  try {
    const page = await fetch(`${url}/locks/`);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const view = await viewWhere(await fetch(`${url}/locks/events`), ({ rows }) =>
      rows.some((row) => row.name === name),
    );
    expect(view.failure).toBeNull();
    const answer = await post("/locks/release", { name, tokens: [held.lock.token] });
    expect(await answer.json()).toEqual({ freed: ["the holder"] });
    await until(() => !held.lock.held, "the holder was told");
    expect(await (await post("/own", { a: 1 })).json()).toEqual({ a: 1 });
  } finally {
    await held.end();
    await close();
  }
});
