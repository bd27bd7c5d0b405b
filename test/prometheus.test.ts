/**
 * The metrics of holdfast/otel as Prometheus scrapes them over HTTP, and the dashboard and alerts of docs/observability on
 * them. Without a `prometheus` (on the PATH, or where .ci/run unpacks Debian's), queries are checked by their names only.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "../scripts/servers.ts";
import { LockManager } from "../src/index.ts";
import { instrument } from "../src/otel.ts";
import { rejection, unique, waiting } from "./support/locks.ts";
import { until } from "./support/until.ts";

const folder = fileURLToPath(new URL("../docs/observability/", import.meta.url));
const rulesFile = join(folder, "alerts.yml");
const rules = readFileSync(rulesFile, "utf8");
const dashboard = readFileSync(join(folder, "grafana-dashboard.json"), "utf8");

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

const { panels } = JSON.parse(dashboard) as { panels: Panel[] };
const alerts = [...rules.matchAll(/^ +expr: (.*)$/gm)].map(([, expr = ""]) => expr);
/** As Grafana sends them, with all groups and prefixes chosen. */
const queries = panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }): [string, string] => [
    title,
    expr.replaceAll("$__rate_interval", "10s").replaceAll(/\$(prefix|group)/g, ".*"),
  ]),
);

const closers: (() => unknown)[] = [];
let url: string;
let locks: LockManager;

/** Everything that the metrics can say happens once, and goes on happening to `web:1`. */
beforeAll(async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meterProvider = new MeterProvider({ readers: [exporter] });
  const stop = instrument({ meterProvider, group: (name) => name.replace(/:.*/, ":*") });
  const endpoint = createServer((request, response) => exporter.getMetricsRequestHandler(request, response));
  endpoint.listen(0, "127.0.0.1");
  await once(endpoint, "listening");
  url = `127.0.0.1:${(endpoint.address() as AddressInfo).port}`;

  const server = await startServer();
  const redis = new Redis(server.url, { maxRetriesPerRequest: 0, retryStrategy: () => 20, enableOfflineQueue: false });
  redis.on("error", () => {});
  await once(redis, "ready");
  locks = new LockManager(redis, { label: "us" });
  const busy = setInterval(() => void locks.request("web:1", () => {}).catch(() => {}), 50);
  closers.push(
    () => clearInterval(busy),
    () => locks.close(),
    () => redis.disconnect(),
    () => server.stop(),
    stop,
    () => endpoint.close(),
  );

  const name = unique("job:").replace(" ", "");
  const held = await locks.acquire(name);
  const waits = locks.acquire(name);
  await waiting(locks, name, 1);
  await rejection(locks.acquire(name, { waitTimeout: 10 }));
  await held.release();
  await (await waits).release();
  const lost = await locks.acquire("job:lost", { ttl: 50, renew: false });
  await until(() => !lost.held, "it expired");
  await locks.semaphore("gpu:1", 4).acquire({ permits: 2 });
  await locks.elect("leader:1").next();
  await locks.acquire("job:held");
  server.freeze();
  const failing = locks.acquire("job:2", { waitTimeout: 100 });
  redis.disconnect(true);
  await rejection(failing);
  server.thaw();
  await until(async () => /^holdfast_troubles_total/m.test(await scrape()), "a call failed");
});
afterAll(async () => {
  for (const close of closers) await close();
});

async function scrape(): Promise<string> {
  return (await fetch(`http://${url}/metrics`)).text();
}

/** The names of metrics and labels that a query speaks of. */
function namesIn(query: string): { metrics: string[]; labels: string[] } {
  const bare = query.replaceAll(/"[^"]*"/g, '""');
  const families = [...query.matchAll(/__name__=~"([^"]*)"/g)].map(([, name = ""]) => name.replace("(_seconds)?", ""));
  const plain = [...bare.matchAll(/\b(holdfast_\w+)(?=[{\s[])(?! *[=!])/g)].map(([, name = ""]) => name);
  const matched = [...bare.matchAll(/([a-z_]+)(?==~|!~|!=|="")/g)].map(([, label = ""]) => label);
  const grouped = [...bare.matchAll(/by \(([^)]*)\)/g)].flatMap(([, names = ""]) => names.split(/, */));
  return { metrics: [...families, ...plain], labels: [...matched, ...grouped].filter((name) => name !== "__name__") };
}

test("every metric and label that the dashboard and the alerts speak of is scraped", async () => {
  const text = await scrape();
  const metrics = new Set([...text.matchAll(/^(\w+)[{ ]/gm)].map(([, name]) => name));
  const labels = new Set([...text.matchAll(/[{,](\w+)="/g)].map(([, name]) => name));
  const wanted = [...alerts, ...queries.map(([, expr]) => expr)].map(namesIn);
  expect(alerts).toHaveLength(4);
  expect(queries.length).toBeGreaterThan(15);
  for (const each of wanted) expect(each.metrics).not.toEqual([]);
  expect(wanted.flatMap((each) => each.metrics).filter((name) => !metrics.has(name))).toEqual([]);
  expect(wanted.flatMap((each) => each.labels).filter((name) => !labels.has(name))).toEqual([]);
});

test("all metrics are on the dashboard, and none of them has a lock's name", async () => {
  const text = await scrape();
  const families = [...text.matchAll(/^# TYPE (holdfast_\w+) /gm)].map(([, name = ""]) => name);
  expect(families.length).toBe(8);
  for (const family of families) expect(dashboard).toContain(family.replace(/^target_info$/, ""));
  expect(text).not.toMatch(/web:1|job:held/);
});

/** Debian's, where .ci/run has unpacked it. */
function found(program: string): string | undefined {
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "holdfast/prometheus/usr/bin");
  const places = [...(process.env["PATH"] ?? "").split(delimiter), cache];
  return places.map((place) => join(place, program)).find((path) => existsSync(path));
}

const prometheus = found("prometheus");
const promtool = found("promtool");

test.skipIf(!promtool)("promtool accepts the alerts", async () => {
  const { stdout } = await promisify(execFile)(promtool!, ["check", "rules", rulesFile]);
  expect(stdout).toContain("SUCCESS: 4 rules found");
});

test.skipIf(!prometheus)(
  "Prometheus answers every query of the dashboard, and a lost lock raises its alert",
  { timeout: 60_000 },
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "holdfast-prometheus-"));
    const config = `
global: { scrape_interval: 500ms, evaluation_interval: 500ms }
rule_files: [${JSON.stringify(rulesFile)}]
scrape_configs: [{ job_name: locks, static_configs: [{ targets: ["${url}"] }] }]
`;
    writeFileSync(join(dir, "prometheus.yml"), config);
    const port = await freePort();
    const args = ["--web.listen-address", `127.0.0.1:${port}`, "--log.level", "error"];
    const files = ["--config.file", join(dir, "prometheus.yml"), "--storage.tsdb.path", join(dir, "data")];
    const child = spawn(prometheus!, [...args, ...files], { stdio: "ignore" });
    const exited = once(child, "exit");
    t.onTestFinished(async () => {
      child.kill("SIGKILL");
      await exited;
      rmSync(dir, { recursive: true, force: true });
    });
    const ask = async (path: string): Promise<{ status: string; data: unknown; error?: string }> =>
      (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json() as never;
    const results = async (expr: string): Promise<unknown[]> => {
      const { status, data, error } = await ask(`query?query=${encodeURIComponent(expr)}`);
      if (status !== "success") throw new Error(`${expr}: ${error}`);
      return (data as { result: unknown[] }).result;
    };
    await until(
      () =>
        ask("query?query=up").then(
          ({ status }) => status === "success",
          () => false,
        ),
      "Prometheus runs",
      20_000,
    );
    const missing = async (): Promise<string[]> => {
      const all = await Promise.all(
        queries.map(async ([title, expr]) => ((await results(expr)).length > 0 ? [] : [title])),
      );
      return all.flat();
    };
    // It looks for targets every 5 s.
    let without = [""];
    const complete = async (): Promise<boolean> => {
      await sleep(250);
      without = await missing();
      return without.length === 0;
    };
    await until(complete, "every panel has data", 40_000).catch((error: unknown) => {
      throw new Error(`Without data: ${without.join(", ")}`, { cause: error });
    });
    for (const expr of alerts) await results(expr);
    const groups = async (): Promise<{ name: string; health: string; state: string }[]> =>
      (
        (await ask("rules")).data as { groups: { rules: { name: string; health: string; state: string }[] }[] }
      ).groups.flatMap((group) => group.rules);
    await until(
      async () => (await groups()).every(({ health }) => health === "ok"),
      "all rules were evaluated",
      10_000,
    );
    const lost = (await groups()).find(({ name }) => name === "HoldfastLockLost");
    expect(lost?.state).toBe("firing");
  },
);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
