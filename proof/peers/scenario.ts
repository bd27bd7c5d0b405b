/** What a scenario is, and what it works with. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { type Server, startServer } from "../../scripts/servers.ts";
import type { Contender, Session } from "./contender.ts";

export interface Seen {
  readonly survives: boolean;
  /** What happened, in a few words. */
  readonly saw: string;
}

export interface Scenario {
  readonly id: string;
  /** What goes wrong. */
  readonly title: string;
  /** Who reported it of which library, or where it was seen first. */
  readonly reported: string;
  /** What counts as surviving. */
  readonly expected: string;
  /** What a library must have; otherwise the scenario is not for it. */
  readonly needs?: "hold" | "permit" | "abort" | "fence" | "quorum";
  run(stage: Stage): Promise<Seen>;
}

/** The servers and processes of one run. All of them end with it. */
export class Stage implements AsyncDisposable {
  readonly contender: Contender;
  /** Rejections that nobody looked after. */
  readonly rejections: unknown[] = [];
  readonly #servers: Server[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #admins: Redis[] = [];

  constructor(contender: Contender) {
    this.contender = contender;
    // Node ends a process for the first of them; here they are counted.
    process.on("unhandledRejection", (reason) => void this.rejections.push(reason));
    process.on("uncaughtException", (reason) => void this.rejections.push(reason));
  }

  async server(): Promise<Server> {
    const server = await startServer();
    this.#servers.push(server);
    return server;
  }

  /** A client to look with, and to meddle. */
  admin(server: Server): Redis {
    const redis = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
    redis.on("error", () => {});
    this.#admins.push(redis);
    return redis;
  }

  open(...urls: string[]): Promise<Session> {
    return this.contender.open(urls);
  }

  /** Another process, which waits for the lock; resolves when it has begun to. It says "held" once it holds it. */
  async waiter(url: string, name: string, ttl: number): Promise<Waiter> {
    const script = fileURLToPath(new URL("waiter.ts", import.meta.url));
    const args = ["--import", "tsx", script, this.contender.id, url, name, String(ttl)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    return {
      held: lines.next().then(() => {}),
      kill: async () => {
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const admin of this.#admins) admin.disconnect();
    for (const server of this.#servers) server.thaw();
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

export interface Waiter {
  /** Resolves when it holds the lock, or has ended. */
  readonly held: Promise<void>;
  kill(): Promise<void>;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How long a promise takes to settle, in milliseconds; undefined if it takes longer than `most`. */
export async function timed(promise: Promise<unknown>, most: number): Promise<number | undefined> {
  const start = performance.now();
  const settled = promise.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([settled, sleep(most).then(() => false)]);
  return inTime ? Math.round(performance.now() - start) : undefined;
}

/** How long a promise takes to be fulfilled, in milliseconds; undefined if it is rejected or takes longer than `most`. */
export async function granted(promise: Promise<unknown>, most: number): Promise<number | undefined> {
  const isRejected = promise.then(
    () => false,
    () => true,
  );
  const time = await timed(promise, most);
  return time === undefined || (await isRejected) ? undefined : time;
}

/** When the signal fires, in milliseconds from now; undefined if not in time. */
export function fired(signal: AbortSignal, most: number): Promise<number | undefined> {
  if (signal.aborted) return Promise.resolve(0);
  return timed(new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })), most);
}

export const inMs = (time: number | undefined, most: number): string =>
  time === undefined ? `not within ${most} ms` : `after ${time} ms`;
