import { connect } from "node:net";
import { Redis } from "ioredis";
import { startServer, type Server as Started } from "../../scripts/servers.ts";
import { sleep } from "./clock.ts";

/** What the server did while something ran. */
export interface Toll {
  /** Milliseconds of CPU. */
  readonly cpu: number;
  /** Commands run, those inside scripts included. */
  readonly commands: number;
}

/** Commands as MONITOR sees them. */
export interface Traffic {
  /** Sent by clients. */
  readonly sent: number;
  /** Run by scripts. */
  readonly inner: number;
}

/** The server under measurement, with a connection of the conductor's own to look at it. */
export class Server {
  readonly #server: Started;
  readonly #redis: Redis;

  private constructor(server: Started) {
    this.#server = server;
    this.#redis = new Redis(server.url);
  }

  static async start(): Promise<Server> {
    const binary = process.env["BENCH_SERVER"];
    return new Server(await startServer(binary ? { binary } : {}));
  }

  get url(): string {
    return this.#server.url;
  }

  async stop(): Promise<void> {
    this.#redis.disconnect();
    await this.#server.stop();
  }

  /** It keeps its connections and answers nothing. */
  freeze(): void {
    this.#server.freeze();
  }

  thaw(): void {
    this.#server.thaw();
  }

  /** As if freshly started, but with warm script caches. */
  async clear(): Promise<void> {
    await this.#redis.flushall("SYNC");
  }

  async version(): Promise<string> {
    const info = await this.#info();
    const valkey = info.get("valkey_version");
    return valkey ? `Valkey ${valkey}` : `Redis ${info.get("redis_version")}`;
  }

  async memory(): Promise<number> {
    return Number((await this.#info()).get("used_memory"));
  }

  /** How often that command has run. */
  async calls(command: string): Promise<number> {
    const stats = await this.#redis.info("commandstats");
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0);
  }

  async expiredKeys(): Promise<number> {
    return Number((await this.#info()).get("expired_keys"));
  }

  async fill(count: number, value: (index: number) => string, ttl: number): Promise<void> {
    for (let start = 0; start < count; start += 1_000) {
      const batch = this.#redis.pipeline();
      for (let i = start; i < Math.min(count, start + 1_000); i++) batch.set(`held:${i}`, value(i), "PX", ttl);
      await batch.exec();
    }
  }

  async during<Result>(run: () => Promise<Result>): Promise<{ result: Result; toll: Toll }> {
    const before = await this.#spent();
    const result = await run();
    const after = await this.#spent();
    // The first INFO itself is among what the second one counts.
    return { result, toll: { cpu: after.cpu - before.cpu, commands: after.commands - before.commands - 1 } };
  }

  /** MONITOR slows a server down, so nothing is timed while this runs. */
  async watch<Result>(run: () => Promise<Result>): Promise<{ result: Result; traffic: Traffic }> {
    const socket = connect(this.#server.port, "127.0.0.1");
    let sent = 0;
    let inner = 0;
    let rest = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (/^\+\d+\.\d+ \[\d+ lua\]/.test(line)) inner++;
        else if (/^\+\d+\.\d+ \[/.test(line)) sent++;
      }
    });
    socket.write("MONITOR\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    const result = await run();
    await sleep(20);
    socket.destroy();
    return { result, traffic: { sent, inner } };
  }

  async #spent(): Promise<Toll> {
    const info = await this.#info();
    const seconds = Number(info.get("used_cpu_user")) + Number(info.get("used_cpu_sys"));
    return { cpu: seconds * 1_000, commands: Number(info.get("total_commands_processed")) };
  }

  async #info(): Promise<Map<string, string>> {
    const lines = String(await this.#redis.info()).split("\r\n");
    return new Map(lines.map((line) => line.split(/:(.*)/s) as [string, string]));
  }
}
