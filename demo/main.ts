/** `npm run demo`: what becomes of a shared record without a lock, with the lock of most tutorials, with holdfast. */
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { Redis } from "ioredis";
import { findServerBinary, startServer } from "../scripts/servers.ts";
import type { UsedServer } from "../scripts/servers.ts";
import { PlayedWorker, ProcessWorker } from "./crew.ts";
import { LEASE_SECONDS, POLL } from "./protocol.ts";
import type { Way } from "./protocol.ts";
import { MemoryRecord, RedisRecord } from "./record.ts";
import type { Shared } from "./record.ts";
import { Round } from "./round.ts";
import type { Tally } from "./round.ts";
import { surprises, table, verdict } from "./table.ts";

const WORKERS = 4;
const INCREMENTS = Number(process.env["DEMO_INCREMENTS"] ?? 400);
const LEAST_INCREMENTS = 80; // the accidents need some before, between and after them

const TITLES: Record<Way, string> = {
  none: "1. No lock",
  tutorial: `2. The lock of most tutorials: SET key 1 NX EX ${LEASE_SECONDS} every ${POLL} ms, then DEL`,
  holdfast: `3. holdfast: locks.request(), a lease of ${LEASE_SECONDS} s, each write with its fence`,
};

interface Stage {
  readonly server: UsedServer | undefined;
  readonly redis: Redis | undefined;
}

async function demo(): Promise<boolean> {
  if (!Number.isSafeInteger(INCREMENTS) || INCREMENTS < LEAST_INCREMENTS) {
    throw new Error(`Expected DEMO_INCREMENTS to be a whole number of at least ${LEAST_INCREMENTS}.`);
  }
  const server = await openServer();
  const redis = server && (await connect(server.url));
  try {
    console.log(`${WORKERS} workers read a count, add 1 and write it back, ${INCREMENTS} times in all.`);
    const results = {
      none: await playRound("none", { server, redis }),
      tutorial: await playRound("tutorial", { server, redis }),
      holdfast: await playRound("holdfast", { server, redis }),
    };
    console.log(`\n${table(results)}\n`);
    const found = surprises(results, INCREMENTS);
    if (!server) console.log("All of this was played within one process: there was no Redis server.");
    console.log(found.length === 0 ? verdict(results) : `Not as expected:\n- ${found.join("\n- ")}`);
    return found.length === 0;
  } finally {
    redis?.disconnect();
    await server?.stop();
  }
}

async function playRound(way: Way, { server, redis }: Stage): Promise<Tally> {
  console.log(`\n${TITLES[way]}`);
  const prefix = `holdfast-demo:${randomBytes(4).toString("hex")}:`;
  const shared: Shared = redis ? new RedisRecord(redis, prefix) : new MemoryRecord();
  const workers = Array.from({ length: WORKERS }, (_, i) =>
    server ? new ProcessWorker(i + 1, way, server.url, prefix) : new PlayedWorker(i + 1, way, shared),
  );
  const round = new Round(shared, workers, INCREMENTS, console.log);
  const tally = await round.play(async () => {
    if (way === "none") return;
    await round.killHolder();
    await round.freezeHolder();
  });
  await Promise.all(workers.map((worker) => worker.end()));
  await shared.close();
  return tally;
}

/** Undefined where there is no server and none can be installed. */
async function openServer(): Promise<UsedServer | undefined> {
  const url = process.env["REDIS_URL"];
  if (url) {
    console.log("Server: the one that REDIS_URL names.");
    return { url, stop: async () => {} };
  }
  const patience = setTimeout(
    () => console.log("Looking for a Redis server, and installing one if there is none ..."),
    500,
  );
  try {
    const binary = await findServerBinary();
    const server = await startServer({ binary });
    console.log(`Server: ${binary}, started for this on port ${server.port}.`);
    return server;
  } catch {
    console.log("Server: none. There is no redis-server or valkey-server on the PATH, and none");
    console.log("could be installed. So this runs on holdfast's in-process scheme: the workers");
    console.log("are PLAYED WITHIN THIS PROCESS, and so is what happens to them.");
    return undefined;
  } finally {
    clearTimeout(patience);
  }
}

async function connect(url: string): Promise<Redis> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  let complaint: Error | undefined;
  redis.on("error", (error: Error) => (complaint = error));
  try {
    await redis.connect();
    await redis.ping();
    return redis;
  } catch (error) {
    redis.disconnect();
    const said = complaint ?? (error as Error); // the client's own error only says that the connection is closed
    throw new Error(`The server that REDIS_URL names cannot be used: ${said.message}`, { cause: error });
  }
}

// However this process ends, its workers and its server end with it (see crew.ts and scripts/servers.ts).
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}
try {
  process.exitCode = (await demo()) ? 0 : 1;
} catch (error) {
  console.error(`The demo could not be finished. ${(error as Error).message}`);
  process.exitCode = 1;
}
process.exit();
