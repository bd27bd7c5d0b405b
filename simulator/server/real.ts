/** A real server whose wall clock is set before each command. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findServerBinary, startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { EPOCH } from "../world/process.ts";
import { Wire } from "./wire.ts";
import type { Published, Reply } from "./wire.ts";

const run = promisify(execFile);

/** How many connections may watch keys at once, also those whose end the server has not noticed yet. */
const SESSIONS = 32;

/** Keys with their values, as DUMP has them, and when they expire by the server's clock. */
export type Snapshot = readonly { readonly key: string; readonly value: string; readonly expiry: number }[];

export class RealServer {
  /** What the server says that it is: the beginning of its run id. */
  readonly id: string;
  /** For people: what it is, and which version. */
  readonly version: string;
  readonly #server: Server;
  readonly #folder: string;
  readonly #clock: number;
  readonly #wire: Wire;
  /** For values as they are. */
  readonly #bytes: Wire;
  readonly #buffer = Buffer.alloc(8);
  /** Connections that can have a state of their own; and those of them that nobody uses. */
  readonly #sessions: readonly Wire[];
  readonly #idle: Wire[];

  private constructor(server: Server, folder: string, clock: number, wires: readonly Wire[], info: string) {
    const [wire, bytes, ...sessions] = wires as [Wire, Wire, ...Wire[]];
    this.#server = server;
    this.#folder = folder;
    this.#clock = clock;
    this.#wire = wire;
    this.#bytes = bytes;
    this.#sessions = sessions;
    this.#idle = [...sessions];
    this.id = /run_id:([0-9a-f]{8})/.exec(info)?.[1] ?? "";
    const valkey = /valkey_version:(\S+)/.exec(info)?.[1];
    this.version = valkey === undefined ? `Redis ${/redis_version:(\S+)/.exec(info)?.[1]}` : `Valkey ${valkey}`;
  }

  /** @param name seeds what is random in it @param sessions how many connections may watch keys at once */
  static async start(name: string, sessions = SESSIONS): Promise<RealServer> {
    const shim = await compileShim();
    const folder = await mkdtemp(join(tmpdir(), "holdfast-clock-"));
    const clock = openSync(join(folder, "clock"), "w+");
    writeMicros(clock, Buffer.alloc(8), EPOCH * 1_000);
    await writeFile(join(folder, "random"), createHash("sha512").update(name).digest());
    const launcher = join(folder, "server");
    const environment = `HOLDFAST_CLOCK=${folder}/clock HOLDFAST_RANDOM=${folder}/random LD_PRELOAD=${shim}`;
    const script = `#!/bin/sh\nexec env ${environment} ${await findServerBinary()} "$@"\n`;
    await writeFile(launcher, script, { mode: 0o755 });
    const server = await startServer({ binary: launcher, args: ["--hz", "1", "--maxmemory-policy", "noeviction"] });
    const { socketPath: path } = server;
    const wires = [await Wire.open(path), await Wire.open(path, "latin1")];
    while (wires.length < 2 + sessions) wires.push(await Wire.open(path));
    const [info] = (wires[0] as Wire).exchange([
      ["INFO", "server"],
      ["DEBUG", "SET-ACTIVE-EXPIRE", "0"],
    ]);
    return new RealServer(server, folder, clock, wires, String(info));
  }

  /** @param micros since 1970 */
  setClock(micros: number): void {
    writeMicros(this.#clock, this.#buffer, micros);
  }

  /** One after the other, with nothing in between. */
  exchange(commands: readonly (readonly string[])[]): Reply[] {
    return this.#wire.exchange(commands);
  }

  /** What was published by now, and not taken before. */
  takePublished(): Published[] {
    return this.#wire.published.splice(0);
  }

  open(): Wire {
    const wire = this.#idle.shift();
    if (!wire) throw new RangeError(`More than ${SESSIONS} connections watch keys at once. Open more of them.`);
    return wire;
  }

  leave(wire: Wire): void {
    wire.exchange([["RESET"], ["HELLO", "3"]]);
    this.#idle.push(wire);
  }

  snapshot(): Snapshot {
    const wire = this.#bytes;
    const [found] = wire.exchange([["KEYS", "*"]]) as [string[]];
    const keys = [...found].sort();
    const commands = keys.flatMap((key) => [
      ["DUMP", key],
      ["PEXPIRETIME", key],
    ]);
    const replies = wire.exchange(commands);
    return keys.map((key, i) => ({ key, value: String(replies[2 * i]), expiry: Number(replies[2 * i + 1]) }));
  }

  /** It holds exactly this. What has expired by its clock is gone. */
  restore(snapshot: Snapshot): void {
    const commands = snapshot.map(({ key, value, expiry }) => [
      "RESTORE",
      key,
      `${Math.max(0, expiry)}`,
      value,
      "ABSTTL",
    ]);
    const replies = this.#bytes.exchange([["FLUSHALL"], ...commands]);
    const failed = replies.find((reply) => reply instanceof Error);
    if (failed) throw failed;
  }

  async stop(): Promise<void> {
    for (const wire of [this.#wire, this.#bytes, ...this.#sessions]) wire.close();
    closeSync(this.#clock);
    await this.#server.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function writeMicros(file: number, buffer: Buffer, micros: number): void {
  buffer.writeBigInt64LE(BigInt(Math.floor(micros)));
  writeSync(file, buffer, 0, 8, 0);
}

/** Built once, and kept beside the packages. */
async function compileShim(): Promise<string> {
  const source = new URL("shim.c", import.meta.url);
  const hash = createHash("sha256")
    .update(await readFile(source))
    .digest("hex")
    .slice(0, 16);
  const folder = new URL("../../node_modules/.cache/holdfast/", import.meta.url).pathname;
  const shim = join(folder, `shim-${hash}.so`);
  try {
    await readFile(shim);
    return shim;
  } catch {
    await mkdir(folder, { recursive: true });
  }
  const built = join(folder, `${process.pid}.so`);
  await run("gcc", ["-O2", "-fPIC", "-shared", "-o", built, source.pathname, "-ldl"]);
  await rename(built, shim); // whoever else builds it meanwhile builds the same
  return shim;
}
