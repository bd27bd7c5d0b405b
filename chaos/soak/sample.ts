/** What must not grow, measured while nothing is going on. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";

export interface Sample {
  /** Since the start, in milliseconds. */
  readonly at: number;
  readonly heap: number;
  /** What keeps the process running: sockets, timers and so on. */
  readonly handles: number;
  /** Of the clients that managers come and go on. */
  readonly listeners: number;
  readonly serverMemory: number;
  readonly connections: number;
  readonly channels: number;
  /** All but labels of managers and run-once jobs, which stay for some time on purpose. */
  readonly keys: number;
}

interface Emitter {
  eventNames(): (string | symbol)[];
  listenerCount(event: string | symbol): number;
}

/** Until what has ended is forgotten by the server and by client libraries, in milliseconds. */
const SETTLING = 1_500;

export async function sample(at: number, redis: Redis, clients: readonly Emitter[]): Promise<Sample> {
  await sleep(SETTLING);
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await sleep(20);
  }
  const [memory, info, keys, channels] = await Promise.all([
    redis.info("memory"),
    redis.info("clients"),
    redis.keys("*"),
    redis.pubsub("CHANNELS") as Promise<string[]>,
  ]);
  const number = (text: string, field: string): number => Number(new RegExp(`^${field}:(\\d+)`, "m").exec(text)?.[1]);
  const count = (each: Emitter): number => each.eventNames().reduce((sum, event) => sum + each.listenerCount(event), 0);
  return {
    at: Math.round(at),
    heap: process.memoryUsage().heapUsed,
    handles: process.getActiveResourcesInfo().length,
    listeners: clients.reduce((sum, each) => sum + count(each), 0),
    serverMemory: number(memory, "used_memory_dataset") || number(memory, "used_memory"),
    connections: number(info, "connected_clients"),
    channels: channels.length,
    keys: keys.filter((key) => !/client:[\w-]{22}$|^lock:job /.test(key)).length,
  };
}

/** By how much each may be larger at the end than at a quarter of the time: a part of it, and so much beside. */
const ALLOWED: Readonly<Record<Exclude<keyof Sample, "at">, readonly [part: number, beside: number]>> = {
  heap: [0.05, 1_000_000],
  handles: [0, 2],
  listeners: [0, 0],
  serverMemory: [0.1, 300_000],
  connections: [0, 1],
  channels: [0, 0],
  keys: [0, 2],
};

/** What has grown, in words. The first quarter is for warming up. */
export function growth(samples: readonly Sample[]): string[] {
  const quarter = Math.floor(samples.length / 4);
  const early = samples.slice(quarter, 2 * quarter);
  const late = samples.slice(-quarter);
  const grown: string[] = [];
  for (const [what, [part, beside]] of Object.entries(ALLOWED) as [keyof typeof ALLOWED, [number, number]][]) {
    const [before, after] = [median(early.map((each) => each[what])), median(late.map((each) => each[what]))];
    if (after > before * (1 + part) + beside) grown.push(`${what} has grown from ${before} to ${after}`);
  }
  return grown;
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
