/** A program for workers, as bundlers make it of holdfast, with no module of Node in it. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * `export default { fetch }`, which takes a lock over HTTP, has another manager wait for it, and answers with JSON.
 *
 * @throws if the library imports a module that only Node has
 */
export async function workerProgram(format: "esm" | "iife"): Promise<string> {
  const contents = `
    import { Redis } from "@upstash/redis/cloudflare";
    import { LockManager } from "./src/index.ts";
    async function use({ url, token }) {
      const open = () => new LockManager(new Redis({ url, token, enableTelemetry: false }));
      const [a, b] = [open(), open()];
      const order = [];
      const first = await a.acquire("w");
      const refused = await b.tryAcquire("w");
      const second = b.request("w", { ttl: 2_000 }, (lock) => void order.push("second", lock.fence > first.fence));
      await new Promise((resolve) => setTimeout(resolve, 50));
      order.push("first", first.held);
      await first.release();
      await second;
      const semaphore = await a.semaphore("s", 2).acquire({ permits: 2 });
      const { held } = await b.query("all");
      await semaphore.release();
      const url_ = await Promise.resolve().then(() => new LockManager("redis://127.0.0.1")).catch((error) => error.message);
      const reentrant = await a.request("r", { reentrant: true }, () => 1).catch((error) => error.code);
      const memory = await new LockManager().request("m", () => "in memory");
      await Promise.all([a.close(), b.close()]);
      return { order, refused, held: held.map(({ name, label }) => ({ name, label })), url: url_, reentrant, memory,
               process: typeof process, Buffer: typeof Buffer };
    }
    export default { fetch: async (request, env) => Response.json(await use(env)) };
  `;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: "ts" },
    bundle: true,
    write: false,
    format,
    globalName: "worker",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "import"],
    target: "es2022",
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}

/** What the program answers where there is nothing but the web's interfaces. */
export const WORKER_ANSWER = {
  order: ["first", true, "second", true],
  refused: null,
  held: [{ name: "s" }],
  reentrant: "unsupported",
  memory: "in memory",
  process: "undefined",
  Buffer: "undefined",
};
