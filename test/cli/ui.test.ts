import { expect, test } from "vitest";
import { useCommandLine } from "../support/cli.ts";
import type { Run } from "../support/cli.ts";
import { viewWhere } from "../support/dashboards.ts";

const cli = useCommandLine();

/** The URL of the page. */
async function opened(run: Run): Promise<string> {
  await run.hasPrinted("/\n");
  return /http:\S+/.exec(run.stdout)?.[0] ?? "";
}

function release(url: string, token: string | null | undefined): Promise<Response> {
  const body = JSON.stringify({ name: "a", tokens: [token] });
  return fetch(`${url}release`, { method: "POST", headers: { origin: new URL(url).origin }, body });
}

test("ui serves the page on loopback to whoever knows the secret, shows the locks, and ends with the signal", async () => {
  const run = cli.start(["ui"]);
  const url = await opened(run);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/);
  expect(await (await fetch(url)).text()).toContain("<title>Locks</title>");
  await cli.hold("a");
  const view = await viewWhere(await fetch(`${url}events`), ({ rows }) => rows.length > 0);
  expect(view.rows).toMatchObject([{ name: "a", waiterCount: 0 }]);
  for (const path of ["/", "/events", "/wrong/", "/wrong/events", `/x${new URL(url).pathname}`]) {
    expect((await fetch(new URL(path, url))).status, path).toBe(403);
  }
  const token = view.rows[0]?.holder?.token;
  expect((await release(url, token)).status).toBe(403);
  run.signal("SIGTERM");
  expect(await run.ended).toMatchObject({ code: 143, stderr: "" });
});

test("ui --allow-release lets a viewer free a lock", async () => {
  const held = await cli.hold("a");
  const url = await opened(cli.start(["ui", "--allow-release"]));
  const { held: holders } = await cli.stateOf("a");
  expect((await release(url, holders[0]?.token)).status).toBe(200);
  expect((await held.ended).code).toBe(70);
});

test("ui refuses to listen beyond this machine without a secret, and uses the one that is set", async () => {
  const refused = await cli.run(["ui", "--host", "0.0.0.0"]);
  expect(refused).toMatchObject({ code: 64, stdout: "" });
  expect(refused.stderr).toContain("Set HOLDFAST_UI_SECRET");
  const weak = await cli.run(["ui"], { HOLDFAST_UI_SECRET: "short" });
  expect(weak).toMatchObject({ code: 64 });
  const secret = "0123456789abcdef";
  const url = await opened(cli.start(["ui", "--host", "0.0.0.0"], { HOLDFAST_UI_SECRET: secret }));
  expect(new URL(url).pathname).toBe(`/${secret}/`);
  expect((await fetch(url)).status).toBe(200);
});

test("ui says that a port is in use", async () => {
  const { port } = new URL(await opened(cli.start(["ui"])));
  const { code, stderr } = await cli.run(["ui", "--port", port]);
  expect(code).toBe(64);
  expect(stderr).toContain(`cannot listen on port ${port} of "127.0.0.1": the port is in use.`);
});
