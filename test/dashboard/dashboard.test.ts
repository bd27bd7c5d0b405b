/** What a dashboard answers, without a browser. */
import { connect } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createDashboard, nodeHandler } from "../../src/dashboard.ts";
import type { Dashboard, DashboardOptions } from "../../src/dashboard.ts";
import { LockManager } from "../../src/index.ts";
import { serve, viewsIn, viewWhere } from "../support/dashboards.ts";
import { enqueue, hold, unique, waiting } from "../support/locks.ts";
import { until } from "../support/until.ts";
import { openWorld, type World } from "../support/worlds.ts";

let world: World;
let locks: LockManager;
const made: Dashboard[] = [];

beforeAll(async () => {
  world = await openWorld("lua", "ioredis 6");
  locks = await world.manager({ label: "host:1:app" });
});
afterEach(() => {
  for (const each of made.splice(0)) each.close();
});
afterAll(() => world.close());

function dashboard(options: DashboardOptions = {}): Dashboard {
  const one = createDashboard(locks, { poll: 100, ...options });
  made.push(one);
  return one;
}

const BASE = "http://locks.test/admin/locks";

function get(one: Dashboard, path = ""): Promise<Response> {
  return one.fetch(new Request(BASE + path));
}

function post(one: Dashboard, body: unknown, headers: Record<string, string> = { "sec-fetch-site": "same-origin" }) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return one.fetch(new Request(`${BASE}/release`, { method: "POST", headers, body: text }));
}

const acting = { readOnly: false, authorize: () => true };

test.each([
  [{ readonly: true }, 'Unknown option "readonly" in options. Did you mean readOnly?'],
  [{ poll: 10 }, "Expected poll to be a whole number of at least 100 milliseconds; got 10."],
  [{ title: 1 }, "Expected title to be a string of at most 100 characters; got 1."],
  [{ authorize: true }, "Expected authorize to be a function; got true."],
  [{ readOnly: false }, "Expected authorize together with readOnly: false"],
])("bad options are refused: %j", (options, message) => {
  expect(() => createDashboard(locks, options as DashboardOptions)).toThrow(message);
});

test("anything but a LockManager is refused", () => {
  expect(() => createDashboard({} as LockManager)).toThrow("Expected a LockManager; got an object (Object).");
});

test("the page is served under every path, and allows itself nothing but its own script, style and origin", async () => {
  const one = dashboard({ title: "<b>&\"'" });
  for (const path of ["", "/", "/index"]) {
    const response = await get(one, path);
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; img-src data:; /);
    expect(policy).not.toMatch(/unsafe|https?:/);
    const html = await response.text();
    expect(html).toContain("<title>&#60;b&#62;&#38;&#34;&#39;</title>");
    expect(/<(?:script|link|img)\b[^>]*\b(?:src|href)="(?!data:)/.test(html)).toBe(false);
  }
});

test("events tell who holds, who waits and for how long, and follow what changes", async () => {
  const name = unique();
  const held = await hold(locks, name, { label: "the holder" });
  const waiter = enqueue(locks, name, { label: "the waiter" });
  await waiting(locks, name, 1);
  const response = await get(dashboard(), `/events?lock=${encodeURIComponent(name)}`);
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  let isReleased = false;
  for await (const { lock, past } of viewsIn(response)) {
    if (!isReleased && lock?.queue.length === 1) {
      expect(lock.holders).toMatchObject([{ label: "the holder", clientLabel: "host:1:app", fence: held.lock.fence }]);
      expect(lock.holders[0]?.held).toBeGreaterThanOrEqual(0);
      expect(lock.queue).toMatchObject([{ label: "the waiter", mode: "exclusive" }]);
      expect(lock.queue[0]?.waited).toBeGreaterThanOrEqual(0);
      isReleased = true;
      await held.end();
    }
    if (past?.holds.length === 1 && lock?.holders[0]?.label === "the waiter") {
      expect(past.holds).toMatchObject([{ label: "the holder", fence: held.lock.fence }]);
      break;
    }
  }
  await waiter.end();
});

test("search, kind and order choose the locks that are sent", async () => {
  const group = unique("group");
  const held = [await locks.acquire(`${group} a`, { label: "Anna" })];
  held.push(await locks.acquire(`${group} b`, { label: "Bert" }));
  held.push(await locks.semaphore(`${group} c`, 3).acquire({ permits: 2 }));
  const one = dashboard();
  const found = async (query: string): Promise<string[]> => {
    const view = await viewWhere(await get(one, `/events?${query}`), ({ totals }) => totals.locks >= 3);
    return view.rows.map(({ name }) => name.slice(group.length + 1));
  };
  const search = encodeURIComponent(group);
  expect(await found(`search=${search}&sort=name`)).toEqual(["a", "b", "c"]);
  expect(await found(`search=${search} anna`)).toEqual(["a"]);
  expect(await found(`search=${search} ${held[1]?.fence}`)).toEqual(["b"]);
  expect(await found(`search=${search}&show=semaphores`)).toEqual(["c"]);
  expect(await found(`search=${search}&sort=held`)).toEqual(["a", "b", "c"]);
  for (const lock of held) await lock.release();
});

test("however many watch, the server is looked at once for all", async () => {
  const query = vi.fn(() => locks.query());
  const one = createDashboard({ query, forceRelease: async () => [] }, { poll: 300 });
  made.push(one);
  const streams = await Promise.all(Array.from({ length: 20 }, () => get(one, "/events")));
  const counts = await Promise.all(
    streams.map(async (stream) => {
      let views = 0;
      for await (const _ of viewsIn(stream)) if (++views === 3) break;
      return views;
    }),
  );
  expect(counts).toEqual(Array.from({ length: 20 }, () => 3));
  expect(query.mock.calls.length).toBeLessThanOrEqual(5);
});

test("a viewer that reads too slowly misses views, and its stream does not grow", async () => {
  const query = vi.fn(() => locks.query());
  const one = createDashboard({ query, forceRelease: async () => [] }, { poll: 100 });
  made.push(one);
  const response = await get(one, "/events");
  await until(() => query.mock.calls.length >= 6, "six looks were made");
  one.close();
  let views = 0;
  for await (const _ of viewsIn(response)) views++;
  expect(views).toBeLessThanOrEqual(2);
});

test("a look that fails is told, and the next one that does not", async () => {
  let isDown = true;
  const query = async () => {
    if (isDown) throw new Error("the server is away");
    return locks.query();
  };
  const one = createDashboard({ query, forceRelease: async () => [] }, { poll: 100 });
  made.push(one);
  const response = await get(one, "/events");
  let wasDown = false;
  for await (const { failure } of viewsIn(response)) {
    if (failure) expect(failure.message).toBe("the server is away");
    if (!failure && wasDown) break;
    wasDown = true;
    isDown = false;
  }
});

test("the events end when the dashboard or its LockManager is closed, and are refused from then on", async () => {
  const other = await world.manager();
  const one = createDashboard(other, { poll: 100 });
  const response = await get(one, "/events");
  await other.close();
  for await (const _ of viewsIn(response));
  expect((await get(one, "/events")).status).toBe(503);
});

test("no more than 200 watch at a time, and who has gone is not counted", async () => {
  const one = dashboard();
  const streams = await Promise.all(Array.from({ length: 200 }, () => get(one, "/events")));
  expect((await get(one, "/events")).status).toBe(503);
  await streams[0]?.body?.cancel();
  expect((await get(one, "/events")).status).toBe(200);
});

test("authorize decides on every request: only true allows", async () => {
  const login = Response.redirect("http://locks.test/login", 302);
  const answers: [unknown, number][] = [
    [true, 200],
    [false, 403],
    [undefined, 403],
    ["yes", 403],
    [login, 302],
  ];
  for (const [answer, status] of answers) {
    const authorize = (async () => answer) as unknown as () => Promise<boolean>;
    const one = dashboard({ readOnly: false, authorize });
    const statuses = [];
    for (const path of ["", "/events", "/history"]) statuses.push((await get(one, path)).status);
    expect(statuses).toEqual([status, status, status]);
    if (answer !== true) expect((await post(one, { name: "a", tokens: [null] })).status).toBe(status);
  }
});

test("what authorize throws reaches the server that it is mounted in", async () => {
  const one = dashboard({
    authorize: () => {
      throw new Error("no session");
    },
  });
  await expect(get(one)).rejects.toThrow("no session");
});

test("a lock is freed from exactly those that were shown", async () => {
  const name = unique();
  const held = await hold(locks, name, { label: "the holder" });
  const one = dashboard(acting);
  expect(await (await post(one, { name, tokens: ["somebody else"] })).json()).toEqual({ freed: [] });
  expect(held.lock.held).toBe(true);
  const response = await post(one, { name, tokens: [held.lock.token] });
  expect(await response.json()).toEqual({ freed: ["the holder"] });
  await until(() => !held.lock.held, "the holder was told");
  await held.end();
});

test("a lock that cannot be freed because the server is away is answered with 503, and the reason", async () => {
  const away = new Redis("redis://127.0.0.1:1", { retryStrategy: null, maxRetriesPerRequest: 0 });
  away.on("error", () => {});
  await using cutOff = new LockManager(away);
  const one = createDashboard(cutOff, acting);
  made.push(one);
  const response = await post(one, { name: "a", tokens: ["b"] });
  expect(response.status).toBe(503);
  expect(await response.text()).toContain("a");
});

test("a dashboard that only shows frees nothing", async () => {
  const name = unique();
  await using lock = await locks.acquire(name);
  const response = await post(dashboard(), { name, tokens: [lock.token] });
  expect(response.status).toBe(403);
  expect(lock.held).toBe(true);
});

test.each<[string, Record<string, string>]>([
  ["of another site", { "sec-fetch-site": "cross-site" }],
  ["of another host of the same site", { "sec-fetch-site": "same-site" }],
  ["of another origin", { origin: "http://evil.test" }],
  ["of an opaque origin", { origin: "null" }],
  ["that says nothing", {}],
])("a request to free a lock %s is refused", async (_, headers) => {
  const name = unique();
  await using lock = await locks.acquire(name);
  expect((await post(dashboard(acting), { name, tokens: [lock.token] }, headers)).status).toBe(403);
  expect(lock.held).toBe(true);
});

test("on plain HTTP, Origin has to name the host that was asked", async () => {
  const order = { name: unique(), tokens: ["nobody"] };
  const one = dashboard(acting);
  expect((await post(one, order, { origin: "http://locks.test" })).status).toBe(200);
  expect((await post(one, order, { origin: "https://public.test", host: "public.test" })).status).toBe(200);
});

test.each([
  ["no JSON", "{"],
  ["no tokens", { name: "a" }],
  ["tokens of another kind", { name: "a", tokens: [1] }],
  ["an empty list, which would free whoever holds", { name: "a", tokens: [] }],
  ["no object", "null"],
  ["too long a body", { name: "a", tokens: ["x".repeat(200_000)] }],
  ["too long a name", { name: "a".repeat(2_000), tokens: [null] }],
])("a request to free a lock with %s is refused", async (_, body) => {
  expect((await post(dashboard(acting), body)).status).toBe(400);
});

test("a method that does not fit is refused", async () => {
  const one = dashboard(acting);
  expect((await get(one, "/release")).status).toBe(405);
  expect((await one.fetch(new Request(`${BASE}/events`, { method: "DELETE" }))).status).toBe(405);
});

test("node:http: the page, the events and what is posted; a viewer who leaves leaves nothing behind", async () => {
  const name = unique();
  const held = await hold(locks, name);
  const query = vi.fn(() => locks.query());
  const one = createDashboard(
    { query, forceRelease: (...args) => locks.forceRelease(...args) },
    { poll: 100, ...acting },
  );
  made.push(one);
  const { url, close } = await serve(nodeHandler(one));
  try {
    expect(await (await fetch(url)).text()).toContain("<title>Locks</title>");
    const view = await viewWhere(await fetch(`${url}/events`), ({ rows }) => rows.some((row) => row.name === name));
    expect(view.failure).toBeNull();
    const body = JSON.stringify({ name, tokens: [held.lock.token] });
    const answer = await fetch(`${url}/release`, {
      method: "POST",
      headers: { "sec-fetch-site": "same-origin" },
      body,
    });
    expect(await answer.json()).toEqual({ freed: ["host:1:app"] });
    // Nobody watches any more: ten times as few looks.
    await until(async () => {
      const before = query.mock.calls.length;
      await new Promise((resolve) => setTimeout(resolve, 500));
      return query.mock.calls.length - before <= 1;
    }, "the looks became rare");
  } finally {
    await close();
    await held.end();
  }
});

test("node:http: what authorize throws goes to next, or is answered with 500", async () => {
  const one = dashboard({ authorize: () => Promise.reject(new Error("no session")) });
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const passedOn: unknown[] = [];
  const handler = nodeHandler(one);
  const { url, close } = await serve((request, response) => {
    const next = (error: unknown): void => {
      passedOn.push(error);
      response.writeHead(418).end();
    };
    handler(request, response, request.url === "/next" ? next : undefined);
  });
  try {
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([500, "The dashboard failed. See the server's log.\n"]);
    expect(warned).toHaveBeenCalledOnce();
    expect((await fetch(`${url}/next`)).status).toBe(418);
    expect(passedOn).toMatchObject([{ message: "no session" }]);
  } finally {
    warned.mockRestore();
    await close();
  }
});

test("node:http: a request without a valid host is answered with 400, and one without a body has none", async () => {
  const { url, close } = await serve(nodeHandler({ fetch: async () => new Response(null, { status: 204 }) }));
  try {
    const { port } = new URL(url);
    const socket = connect(Number(port), "127.0.0.1");
    socket.end("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n");
    expect((await textOf(socket)).split("\r\n", 1)).toEqual(["HTTP/1.1 400 Bad Request"]);
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([204, ""]);
  } finally {
    await close();
  }
});

test("node:http: a body that is written faster than it is read leaves no listeners behind", async () => {
  const warnings: Error[] = [];
  const heard = (warning: Error): void => void warnings.push(warning);
  process.on("warning", heard);
  let chunks = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    if (++chunks > 40) controller.close();
    else controller.enqueue(new Uint8Array(100_000));
  };
  const { url, close } = await serve(nodeHandler({ fetch: async () => new Response(new ReadableStream({ pull })) }));
  try {
    expect((await (await fetch(url)).arrayBuffer()).byteLength).toBe(4_000_000);
    expect(warnings).toEqual([]);
  } finally {
    process.off("warning", heard);
    await close();
  }
});

test("node:http: a viewer who goes in the middle of a body ends it, without a warning", async () => {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const cancelled = vi.fn();
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(10)), cancel: cancelled });
  const { url, close } = await serve(nodeHandler({ fetch: async () => new Response(body) }));
  try {
    const leaving = new AbortController();
    const response = await fetch(url, { signal: leaving.signal });
    await response.body?.getReader().read();
    leaving.abort();
    await until(() => cancelled.mock.calls.length === 1, "the body was cancelled");
    expect(warned).not.toHaveBeenCalled();
  } finally {
    warned.mockRestore();
    await close();
  }
});
