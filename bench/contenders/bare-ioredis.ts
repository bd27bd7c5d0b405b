import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { compareAndDelete, mustBeOk, nextToken } from "./bare.ts";
import type { Session } from "./index.ts";

export const open6 = (url: string): Promise<Session> => open(url, Redis6);
export const open5 = (url: string): Promise<Session> => open(url, Redis5 as unknown as typeof Redis6);

/** All are asked, and as soon as a majority has answered, that is it. */
export async function openNodes(urls: readonly string[]): Promise<Session> {
  const nodes = urls.map((url) => new Redis6(url));
  const [sha] = (await Promise.all(nodes.map((redis) => redis.script("LOAD", compareAndDelete)))) as string[];
  return {
    async acquire(name, ttl) {
      const token = nextToken();
      await majorityOf(nodes.map((redis) => redis.set(name, token, "PX", ttl, "NX").then(mustBeOk)));
      return () => majorityOf(nodes.map((redis) => redis.evalsha(sha!, 1, name, token)));
    },
  };
}

function majorityOf(answers: readonly Promise<unknown>[]): Promise<void> {
  let missing = (answers.length >> 1) + 1;
  return new Promise((resolve, reject) => {
    for (const answer of answers) answer.then(() => --missing === 0 && resolve(), reject);
  });
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
