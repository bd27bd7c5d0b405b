/** Only the leader is ready: a load balancer that asks each machine sends it all requests. Here two machines in one. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { LockManager } from "holdfast";

const redis = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");

async function startMachine(label: string) {
  const locks = new LockManager(redis, { label });
  const leaving = new AbortController();
  const election = locks.elect("primary", { signal: leaving.signal });
  const server = createServer((request, response) => {
    response.statusCode = request.url === "/ready" && election.leading ? 200 : 503;
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ready`;

  const work = (async () => {
    for await (const term of election) await once(term.signal, "abort"); // the leader's work, until its term ends
  })();
  const stop = async (): Promise<void> => {
    leaving.abort();
    await work; // nobody else leads while this machine works
    await locks.close();
    server.close();
  };
  return { label, election, url, stop };
}

const machines = [await startMachine("one"), await startMachine("two")];

async function leader() {
  for (;;) {
    const leading = machines.find(({ election }) => election.leading);
    if (leading) return leading;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function readiness(): Promise<string> {
  const answers = await Promise.all(machines.map(({ url }) => fetch(url, { headers: { connection: "close" } })));
  return `${answers.filter(({ ok }) => ok).length} of ${answers.length}`;
}

const first = await leader();
console.log(`ready: ${await readiness()}`);
await first.stop();
machines.splice(machines.indexOf(first), 1);
console.log(`the other machine leads: ${(await leader()) !== first}`);
console.log(`ready: ${await readiness()}`);

await machines[0]!.stop();
redis.disconnect();
