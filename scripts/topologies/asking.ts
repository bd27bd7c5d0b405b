/** What a server says of itself and of others, asked on a connection of its own. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Server } from "../servers.ts";
import { toldPort } from "./fronts.ts";

export const host = "127.0.0.1";
export const answerTimeoutMs = 2_000;
const settleTimeoutMs = 20_000;
const pollMs = 20;

/** Of those servers that have one. */
const passwords = new WeakMap<Server, string>();

/** It answers to that password only. */
export function usePassword(server: Server, password: string): void {
  passwords.set(server, password);
}

/** Waits until `condition` gives something truthy. One that throws (nobody answers, not yet) is asked again. */
export async function settled<T>(condition: () => Promise<T>, what: string): Promise<T> {
  const deadline = performance.now() + settleTimeoutMs;
  let cause: unknown;
  while (performance.now() < deadline) {
    try {
      const answer = await condition();
      if (answer) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(pollMs);
  }
  throw new Error(`Waited ${settleTimeoutMs} ms until ${what}; it did not happen.`, { cause });
}

/** A few commands on a connection of their own, which is sure to end also where the server is frozen. */
async function at<T>(server: Server, use: (redis: Redis) => Promise<T>): Promise<T> {
  const password = passwords.get(server);
  const redis = new Redis({
    port: server.port,
    host,
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    connectTimeout: answerTimeoutMs,
    commandTimeout: answerTimeoutMs,
  });
  redis.on("error", () => {}); // a command that fails says so itself
  try {
    await redis.connect();
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** One command, on a connection of its own. */
export function ask(server: Server, command: string, ...args: (string | number)[]): Promise<unknown> {
  return at(server, (redis) => redis.call(command, args));
}

/** The answer of INFO, and of CLUSTER INFO, as a record. */
export async function facts(server: Server, command: string, section: string): Promise<Record<string, string>> {
  const text = String(await ask(server, command, section));
  return Object.fromEntries([...text.matchAll(/^([^:#\r\n]+):(.*?)\r?$/gm)].map(([, key, value]) => [key, value]));
}

export async function isLinked(replica: Server, master: Server): Promise<boolean> {
  const { role, master_port, master_link_status } = await facts(replica, "INFO", "replication");
  return role === "slave" && Number(master_port) === toldPort(master) && master_link_status === "up";
}

export async function isMaster(server: Server): Promise<boolean> {
  return (await facts(server, "INFO", "replication"))["role"] === "master";
}
