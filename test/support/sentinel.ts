/** A Sentinel that watches one server, and never finds it down. */
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { findServerBinary, randomPort } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { useFolder } from "./cli.ts";
import { until } from "./until.ts";

/** It ends with the test. */
export async function startSentinel(watched: Server, name: string, password?: string): Promise<{ port: number }> {
  const port = randomPort();
  const folder = await useFolder(onTestFinished);
  const file = join(folder, "sentinel.conf");
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${folder}`,
    `sentinel monitor ${name} 127.0.0.1 ${watched.port} 1`,
    `sentinel down-after-milliseconds ${name} 60000`,
    ...(password === undefined ? [] : [`requirepass ${password}`]),
  ];
  await writeFile(file, lines.join("\n"));
  const sentinel = spawn(await findServerBinary(), [file, "--sentinel"], { stdio: "ignore" });
  onTestFinished(() => void sentinel.kill("SIGKILL"));
  const redis = new Redis({ port, password: password ?? "", retryStrategy: () => 20, enableReadyCheck: false });
  redis.on("error", () => {}); // it takes a moment to be there
  onTestFinished(() => redis.disconnect());
  const knows = async (): Promise<boolean> => Array.isArray(await redis.call("SENTINEL", "MASTER", name));
  await until(knows, "the Sentinel answered");
  return { port };
}
