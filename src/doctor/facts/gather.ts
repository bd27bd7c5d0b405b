/** Asks one server for everything that the checks judge, one question after another. */
import { randomBytes } from "node:crypto";
import slotOf from "cluster-key-slot";
import type { Clock } from "../../clock.ts";
import type { Driver, Send } from "../../drivers/driver.ts";
import { messageOf } from "../../drivers/server-errors.ts";
import { lockKeys } from "../../schemes/keys.ts";
import type { Terms } from "../finding.ts";
import { measure } from "./delay.ts";
import { findEternal } from "./eternal.ts";
import type { Facts } from "./facts.ts";
import { measurePush } from "./push.ts";
import { findRefusals } from "./rights.ts";

/** What is read of the configuration, as globs: several in one CONFIG GET came with Redis 7. */
const SETTINGS = [
  "maxmemory*",
  "append*",
  "save",
  "min-*",
  "client-output-buffer-limit",
  "maxclients",
  "cluster-require-full-coverage",
];

export interface Place {
  readonly title: string;
  readonly port: number | undefined;
  /** The user as which the client connects. */
  readonly user: string;
}

/** @throws the error of the server, or of the connection to it */
export async function gather(driver: Driver, send: Send, place: Place, terms: Terms, clock: Clock): Promise<Facts> {
  await send(["PING"]).catch((error: unknown) => {
    // A server that refuses answers.
    if (!messageOf(error).includes("NOPERM")) throw error;
  });
  const info = await read(send, ["INFO"]).then(readInfo);
  const { title, name } = driver.isCluster
    ? await inCluster(send, place, terms.prefix)
    : { title: place.title, name: probeName() };
  const { delay, clock: ahead } = await measure(send, clock);
  const refused = await findRefusals(driver, send, name, terms, clock);
  return {
    title,
    port: place.port,
    info,
    config: await readConfig(send),
    user: await userOf(send, place),
    delay,
    clock: ahead,
    push:
      terms.scheme === "set" || refused.length > 0 ? undefined : await measurePush(driver, terms.prefix, name, clock),
    refused,
    clusterState: driver.isCluster ? stateIn(await read(send, ["CLUSTER", "INFO"])) : undefined,
    eternal: await findEternal(send, terms.prefix, clock),
    mixed: await findMixture(driver, lockKeys(terms.prefix, name)[0], info?.get("run_id")),
  };
}

function probeName(): string {
  return `doctor:${randomBytes(9).toString("base64url")}`;
}

/** The server's own address, and the name of a lock that it keeps. */
async function inCluster(send: Send, place: Place, prefix: string): Promise<{ title: string; name: string }> {
  const nodes = String(await read(send, ["CLUSTER", "NODES"]));
  const [, address, rest = ""] = /^\S+ ([^@ ,]+)\S* \S*myself\S* (.*)$/m.exec(nodes) ?? [];
  const ranges = [...rest.matchAll(/(?:^| )(\d+)(?:-(\d+))?(?= |$)/g)].slice(2); // after the ping's and pong's times
  const keeps = (slot: number): boolean =>
    ranges.some(([, from, to]) => slot >= Number(from) && slot <= Number(to ?? from));
  let name = probeName();
  for (let i = 0; i < 100_000 && !keeps(slotOf(lockKeys(prefix, name)[0])); i++) name = probeName();
  return { title: address === undefined ? place.title : address, name };
}

function stateIn(reply: unknown): string | undefined {
  return /^cluster_state:(\w+)/m.exec(String(reply))?.[1];
}

async function read(send: Send, command: readonly string[]): Promise<unknown> {
  return send(command).catch(() => undefined);
}

function readInfo(reply: unknown): Map<string, string> | undefined {
  if (reply === undefined) return undefined;
  return new Map(
    [...String(reply).matchAll(/^([^:#\r\n]+):(.*?)\r?$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
}

async function readConfig(send: Send): Promise<Map<string, string> | undefined> {
  const replies = await Promise.all(SETTINGS.map((glob) => read(send, ["CONFIG", "GET", glob])));
  if (replies.every((reply) => reply === undefined)) return undefined;
  return new Map(replies.flatMap(pairsOf));
}

/** A list of names and values; where the client speaks RESP3, a map or an object. */
function pairsOf(reply: unknown): [string, string][] {
  if (reply instanceof Map) return [...reply].map(([name, value]) => [String(name), String(value)]);
  if (Array.isArray(reply)) return reply.flatMap((name, i) => (i % 2 ? [] : [[String(name), String(reply[i + 1])]]));
  return Object.entries(reply ?? {}).map(([name, value]) => [name, String(value)]);
}

async function userOf(send: Send, { user }: Place): Promise<string> {
  return String((await read(send, ["ACL", "WHOAMI"])) ?? user);
}

/** Whether what looks like one server or connection is several, as behind some proxies. */
async function findMixture(driver: Driver, key: string, runId: string | undefined): Promise<Facts["mixed"]> {
  const session = await driver.session(key).catch(() => undefined);
  if (!session) return undefined;
  try {
    const other = readInfo(await read((command) => session.send(command), ["INFO", "server"]))?.get("run_id");
    if (runId !== undefined && other !== undefined && runId !== other) return "servers";
    const ids = [await read((command) => session.send(command), ["CLIENT", "ID"])];
    for (let i = 0; i < 3; i++) ids.push(await read((command) => session.send(command), ["CLIENT", "ID"]));
    return new Set(ids.map(String)).size > 1 ? "connections" : undefined;
  } finally {
    session.close();
  }
}
