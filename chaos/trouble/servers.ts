/** Faults of one server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../../scripts/servers.ts";
import { ask } from "../../scripts/topologies.ts";
import type { Affliction } from "../checks/affliction.ts";
import { now } from "../client/journal.ts";
import type { Fault } from "../plan/plan.ts";
import type { Victims } from "./trouble.ts";

export type ServerFault = Extract<
  Fault,
  {
    readonly fault:
      "kill connections" | "forget scripts" | "freeze server" | "restart server" | "fill disk" | "slow disk";
  }
>;

/** For how long a server with `appendfsync everysec` may put off a write of its file, in milliseconds. */
const PUT_OFF = 2_500;
/** What still fits on a full disk, in bytes: part of a command. */
const ROOM = 300;
/** How much longer a write to a slow disk takes, in microseconds. */
const SLOW = 150_000;

export async function strikeServer(
  fault: ServerFault,
  server: Server,
  affliction: Affliction,
  victims: Victims,
): Promise<void> {
  switch (fault.fault) {
    case "kill connections":
      await ask(server, "CLIENT", "KILL", "TYPE", fault.which);
      return;
    case "forget scripts":
      await ask(server, "SCRIPT", "FLUSH");
      return;
    case "freeze server":
      server.freeze();
      await sleep(fault.time);
      server.thaw();
      return;
    case "restart server":
      doubt(affliction, victims);
      await server.crash();
      await sleep(fault.time);
      await server.start();
      await victims.topology.restored(server);
      return;
    case "fill disk":
      return fillDisk(server, fault.time, affliction, victims);
    case "slow disk":
      return slowDisk(server, fault.time);
  }
}

/** What it granted may be gone when it is back. */
function doubt(affliction: Affliction, { plan, topology }: Victims): void {
  if (plan.topology.startsWith("redlock") || plan.fsync === "always") return;
  const from = topology.hasDisk ? now() - PUT_OFF : now();
  affliction.doubt = { cause: "memory lost", from, until: Infinity };
}

/** Its file cannot grow any more. With `appendfsync always` the server ends then, and is started when there is room. */
async function fillDisk(server: Server, time: number, affliction: Affliction, victims: Victims): Promise<void> {
  const folder = join(server.dir, "appendonlydir");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".incr.aof"));
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(folder, name))).size));
  await limitFiles(server, `${Math.max(0, ...sizes) + ROOM}`);
  await sleep(time);
  if (server.isRunning) await limitFiles(server, "unlimited").catch(() => {}); // it may end just now
  if (server.isRunning) return;
  if (victims.plan.fsync !== "always") doubt(affliction, victims);
  await server.start();
}

function limitFiles({ pid }: Server, size: string): Promise<void> {
  return run("prlimit", "--pid", `${pid}`, `--fsize=${size}:unlimited`);
}

async function slowDisk({ pid }: Server, time: number): Promise<void> {
  const calls = "fdatasync,fsync";
  const inject = `inject=${calls}:delay_enter=${SLOW}`;
  const args = ["-f", "-qq", "-o", "/dev/null", "-p", `${pid}`, "-e", `trace=${calls}`, "-e", inject];
  const tracer = spawn("strace", args, { stdio: "ignore" });
  const ended = once(tracer, "exit");
  await sleep(time);
  tracer.kill("SIGTERM");
  await ended;
}

async function run(command: string, ...args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: "ignore" });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${[command, ...args].join(" ")} ended with ${code}.`);
}
