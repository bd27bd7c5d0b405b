/** The library in a world without Node: only the language, and the web's interfaces. `npm run test:runtimes` has workerd. */
import { createContext, runInContext } from "node:vm";
import { expect, test } from "vitest";
import { openStage } from "./support/stage.ts";
import { UpstashServer } from "./support/upstash.ts";
import { WORKER_ANSWER, workerProgram } from "./support/worker.ts";

/** What workers have of the web. */
const { fetch, Response, Request, Headers, URL, Blob, TextEncoder, TextDecoder, AbortController, AbortSignal } =
  globalThis;
const { DOMException, atob, btoa, crypto, performance, setTimeout, clearTimeout, console } = globalThis;
const web = { fetch, Response, Request, Headers, URL, Blob, TextEncoder, TextDecoder, AbortController, AbortSignal };
const rest = { DOMException, Event, EventTarget, atob, btoa, crypto, performance, setTimeout, clearTimeout, console };

test("a bundle imports no module of Node, and locks over HTTP without process and Buffer", async (t) => {
  const stage = await openStage(t);
  const upstash = await UpstashServer.start(stage.server.url);
  t.onTestFinished(() => upstash.stop());
  const program = await workerProgram("iife");
  expect(program).not.toMatch(/require\("node:|from "node:/);
  const world = createContext({ ...web, ...rest, env: { url: upstash.url, token: upstash.token } });
  const answer = (await runInContext(`${program}; worker.default.fetch(undefined, env)`, world)) as Response;
  const told = (await answer.json()) as { url: string };
  expect(told).toMatchObject(WORKER_ANSWER);
  expect(told.url).toContain("This runtime cannot open a URL");
});
