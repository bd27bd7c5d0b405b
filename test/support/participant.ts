/**
 * The program of a real process that takes part in a test: it reads one command a line, and answers each with one line
 * of JSON. See processes.ts.
 */
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { LockManager } from "../../src/index.ts";
import type { DetachedLock, Lock, LockLostError, LockOptions, SemaphoreOptions } from "../../src/index.ts";
import { openGlide } from "./glide.ts";

const [, , url = "", on = "ioredis", managerOptions = "{}"] = process.argv;

async function connect() {
  if (on === "ioredis") {
    const client = new Redis(url);
    return { client, end: () => client.disconnect() };
  }
  if (on === "glide") return openGlide(url);
  const client = createClient({ url });
  await client.connect();
  return { client, end: () => client.destroy() };
}

const { client, end } = await connect();
const locks = new LockManager(client, JSON.parse(managerOptions) as object);
let lock: Lock | undefined;

function state() {
  const held = lock?.held;
  const reason = lock?.signal.reason as LockLostError | undefined;
  return { held, aborted: lock?.signal.aborted, reason: reason?.reason, fence: lock?.fence, token: lock?.token };
}

/** Keep the event loop busy until the file is there, which somebody makes while this process is stopped. */
function spinUntilThere(file: string): void {
  while (!existsSync(file));
}

const commands: Record<string, (...args: never[]) => unknown> = {
  acquire: async (name: string, options?: LockOptions) => {
    lock = await locks.acquire(name, options);
    return state();
  },
  /** Do not wait for the grant: answer when the request is on its way. */
  enqueue: (name: string, options?: LockOptions) => {
    locks.acquire(name, options).then(
      (granted) => (lock = granted),
      () => {},
    );
    return "asked";
  },
  permits: async (name: string, limit: number, options?: SemaphoreOptions) => {
    lock = await locks.semaphore(name, limit).acquire(options);
    return state();
  },
  "queue for permits": (name: string, limit: number, options?: SemaphoreOptions) => {
    locks
      .semaphore(name, limit)
      .acquire(options)
      .catch(() => {});
    return "asked";
  },
  /** Answers that it computes, and computes forever. */
  share: (name: string) => {
    locks
      .share(name, { ttl: 60_000 }, () => {
        answer("computing");
        return new Promise<never>(() => {});
      })
      .catch(() => {});
    return "asked";
  },
  state,
  detach: () => lock?.detach(),
  attach: async (detached: DetachedLock) => {
    lock = await locks.attach(detached);
    return state();
  },
  release: async () => ({ released: await lock?.release() }),
  /** Answers twice: before the process is stopped, and in the very turn in which it goes on. */
  spin: (file: string) => {
    answer("spinning");
    spinUntilThere(file);
    return state();
  },
  /** End the client as a program does that has nothing more to do; nothing calls process.exit(). */
  finish: async (how: "close" | "leave") => {
    if (how === "close") await locks.close();
    end();
    input.close();
    process.stdin.destroy();
    return "finished";
  },
};

function answer(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value ?? null)}\n`);
}

const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const [name, ...args] = JSON.parse(line) as [string, ...never[]];
  void Promise.resolve(commands[name]?.(...args)).then(answer);
});
answer("ready");
