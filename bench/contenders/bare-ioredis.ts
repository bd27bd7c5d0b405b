import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { compareAndDelete, mustBeOk, nextToken } from "./bare.ts";
import type { Session } from "./index.ts";

export const open6 = (url: string): Promise<Session> => open(url, Redis6);
export const open5 = (url: string): Promise<Session> => open(url, Redis5 as unknown as typeof Redis6);

/** Only a majority is asked, each time another one, and all of it has to answer. */
export async function openNodes(urls: readonly string[]): Promise<Session> {
  const all = urls.map((url) => new Redis6(url));
  const majorities = all.map((_, i) => [...all, ...all].slice(i, i + (all.length >> 1) + 1));
  let turn = 0;
  const [sha] = (await Promise.all(all.map((redis) => redis.script("LOAD", compareAndDelete)))) as string[];
  return {
    async acquire(name, ttl) {
      const token = nextToken();
      const nodes = majorities[turn++ % majorities.length]!;
      await Promise.all(nodes.map((redis) => redis.set(name, token, "PX", ttl, "NX").then(mustBeOk)));
      return () => Promise.all(nodes.map((redis) => redis.evalsha(sha!, 1, name, token)));
    },
  };
}

async function open(url: string, Redis: typeof Redis6): Promise<Session> {
  const redis = new Redis(url);
  const sha = String(await redis.script("LOAD", compareAndDelete));
  return {
    async acquire(name, ttl) {
      const token = nextToken();
      mustBeOk(await redis.set(name, token, "PX", ttl, "NX"));
      return () => redis.evalsha(sha, 1, name, token);
    },
    extras: {
      publish: (channel) => redis.publish(channel, "free"),
      async subscribe(channel, heard) {
        const subscriber = redis.duplicate();
        subscriber.on("message", heard);
        return subscriber.subscribe(channel);
      },
    },
  };
}
