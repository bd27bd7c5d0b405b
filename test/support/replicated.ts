/** A server with a replica, which can be cut off, and take the server's place. */
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type Server, type ServerOptions, startServer } from "../../scripts/servers.ts";
import type { Proxy } from "./proxy.ts";
import { type Finishing, openStage, type Stage } from "./stage.ts";
import { until } from "./until.ts";

export interface Replicated extends Stage {
  readonly replica: Server;
  /** What the replica is fed through. */
  readonly link: Proxy;
  /** The server dies with what is on its way to the replica, which takes its place. Resolves with a client of it. */
  failOver(): Promise<Redis>;
}

/** @param options of both servers */
export async function openReplicated(
  t: Finishing,
  options: ServerOptions & { args?: string[] } = {},
): Promise<Replicated> {
  const args = ["--repl-diskless-sync-delay", "0", ...(options.args ?? [])];
  const stage = await openStage(t, { ...options, args });
  const link = await stage.proxy();
  const replica = await startServer({ ...options, args: [...args, "--replicaof", "127.0.0.1", String(link.port)] });
  t.onTestFinished(() => replica.stop());
  await following(stage.redis);
  return {
    ...stage,
    replica,
    link,
    failOver: async () => {
      await link.refuse();
      await stage.server.crash();
      const redis = stage.client(replica.url);
      await redis.replicaof("NO", "ONE");
      return redis;
    },
  };
}

/** One for all tests of a suite, each of which finds it empty and whole. Tests close their managers. */
export function sharedByTests(): () => Replicated {
  const finish: (() => void | Promise<void>)[] = [];
  let shared: Replicated;
  beforeAll(async () => {
    shared = await openReplicated({ onTestFinished: (each) => void finish.unshift(each) });
  });
  afterEach(async () => {
    shared.replica.thaw();
    await shared.redis.flushall();
    await following(shared.redis);
  });
  afterAll(async () => {
    for (const each of finish) await each();
  });
  return () => shared;
}

/** Wait until a replica acknowledges at once: one that has just begun to follow may do so only once a second. */
export async function following(redis: Redis): Promise<void> {
  const acknowledged = async (): Promise<boolean> => {
    for (let i = 0; i < 3; i++) {
      await redis.set("probe", i, "PX", 1_000);
      if ((await redis.wait(1, 100)) !== 1) return false;
    }
    return true;
  };
  await until(acknowledged, "the replica followed", 10_000);
  await redis.del("probe");
}
