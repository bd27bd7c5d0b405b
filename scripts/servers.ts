// Real Redis and Valkey servers for tests and the demo: found, installed if that is possible, started, always stopped.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { access, constants, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { keep, openFolder } from "./keeper.ts";

const run = promisify(execFile);

const startTimeoutMs = 10_000;
const installTimeoutMs = 5 * 60_000;
const portAttempts = 20;

/** Where a server is going to live. */
export interface Place {
  readonly port: number;
  readonly dir: string;
}

type Args = string[] | ((place: Place) => string[] | Promise<string[]>);

export interface ServerOptions {
  /**
   * Passed after our own options, so that they win: `["--appendonly", "yes"]`. A function is asked once, before the
   * first start, and may put files into the folder that its arguments name.
   */
  args?: Args;
  port?: number;
  binary?: string;
  /** What ports are drawn from, where not any will do. */
  drawPort?: () => number;
  /** A configuration file, put into the server's folder: for servers that rewrite theirs. */
  config?: string;
}

export interface UsedServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** The server that `REDIS_URL` names, which is left alone, or else one of our own. */
export async function useServer(): Promise<UsedServer> {
  const url = process.env["REDIS_URL"];
  if (url) return { url, stop: async () => {} };
  return startServer();
}

/** Starts a server that holds nothing and keeps nothing, on loopback, and waits until it answers. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const binary = options.binary ?? (await findServerBinary());
  const debug = (await allowsDebugOption(binary)) ? ["--enable-debug-command", "local"] : [];
  const { args = [], config, drawPort = randomPort } = options;
  const allArgs = async (place: Place): Promise<string[]> => [
    ...debug,
    ...(typeof args === "function" ? await args(place) : args),
  ];
  for (let attempt = 1; ; attempt++) {
    const server = new Server(binary, options.port ?? drawPort(), openFolder(), allArgs, config);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.stop();
      const canTryAnother = error instanceof PortTakenError && options.port === undefined;
      if (!canTryAnother || attempt === portAttempts) throw error;
    }
  }
}

/**
 * A port for a server. It lies below the range that the system gives to outgoing connections: inside that range, a client
 * that reconnects while the server is down takes the server's port now and then, or even connects to itself.
 */
export function randomPort(): number {
  return draw(20_000, 32_000);
}

/**
 * A port that nothing listens at, and that no server is given, in other processes either: what a test finds down must not
 * be another test's server.
 */
export function idlePort(): number {
  return draw(12_000, 20_000);
}

function draw(from: number, to: number): number {
  for (;;) {
    const port = from + Math.floor(Math.random() * (to - from));
    if (drawn.has(port)) continue;
    drawn.add(port);
    return port;
  }
}

/** No port is drawn twice: a client that reconnects to what is down must not find another test's server there. */
const drawn = new Set<number>();

export class Server {
  readonly port: number;
  readonly url: string;
  readonly dir: string;
  readonly socketPath: string;
  readonly #binary: string;
  readonly #args: (place: Place) => Promise<string[]>;
  readonly #config: string | undefined;
  #command: string[] | undefined;
  #process: ChildProcess | undefined;

  constructor(
    binary: string,
    port: number,
    dir: string,
    args: (place: Place) => Promise<string[]>,
    config: string | undefined,
  ) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.dir = dir;
    this.socketPath = join(dir, "server.sock");
    this.#binary = binary;
    this.#args = args;
    this.#config = config;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error("The server has not been started.");
    return pid;
  }

  async start(): Promise<void> {
    this.#command ??= await this.#prepare();
    const log = openSync(join(this.dir, "server.log"), "w");
    const server = spawn(this.#binary, this.#command, {
      stdio: ["ignore", log, log],
      detached: true, // so that Ctrl-C in a terminal reaches us alone, and we choose when the server goes
    });
    closeSync(log);
    this.#process = server;
    keep(server, this.dir);
    server.unref();
    await this.#answers(server);
  }

  async #prepare(): Promise<string[]> {
    const own = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--unixsocket", this.socketPath];
    const forgetful = ["--save", "", "--appendonly", "no", "--dir", this.dir];
    const rest = [...own, ...forgetful, ...(await this.#args(this))];
    if (this.#config === undefined) return rest;
    const file = join(this.dir, "server.conf");
    await writeFile(file, this.#config);
    return [file, ...rest]; // servers take a file in the first place only
  }

  /** True from its start until its process has ended, also while it is frozen. */
  get isRunning(): boolean {
    return this.#process !== undefined && !hasEnded(this.#process);
  }

  /** Sends a signal. The server may still be there when this returns. */
  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  freeze(): void {
    this.kill("SIGSTOP");
  }

  thaw(): void {
    this.kill("SIGCONT");
  }

  /** What a crash does: kill -9, then a server without memory on the same port. */
  async restart(): Promise<void> {
    await this.crash();
    await this.start();
  }

  /** kill -9, and wait until the process is gone. `start()` brings it back on the same port. */
  async crash(): Promise<void> {
    const server = this.#process;
    if (server === undefined || hasEnded(server)) return;
    server.ref(); // we wait for its end, so it may keep us running
    const ended = once(server, "exit");
    server.kill("SIGKILL"); // the only signal that also ends a frozen process
    await ended;
  }

  async stop(): Promise<void> {
    await this.crash();
    await rm(this.dir, { recursive: true, force: true, maxRetries: 3 }); // a child that saves may still write to it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answers(server: ChildProcess): Promise<void> {
    let spawnError: Error | undefined;
    server.once("error", (error) => (spawnError = error));
    const deadline = performance.now() + startTimeoutMs;
    // We ask on the Unix socket because nobody else can have it: what answers on the port may be another's server.
    while (!(await ping(this.socketPath))) {
      if (spawnError) throw new Error(`${this.#binary} could not be started.`, { cause: spawnError });
      const ended = hasEnded(server); // looked at before the log is read, which is complete only then
      const late = performance.now() > deadline;
      if (ended || late) {
        const log = await readFile(join(this.dir, "server.log"), "utf8");
        if (/already in use/i.test(log)) throw new PortTakenError(`Port ${this.port} of 127.0.0.1 is in use.`);
        const what = ended ? "ended while it started" : `gave no answer within ${startTimeoutMs} ms`;
        throw new Error(`${this.#binary} ${what}. Its log says:\n${log}`);
      }
      await sleep(5);
    }
  }
}

class PortTakenError extends Error {}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** True if a server answers on this socket, whatever it says (it may want a password), unless it is still loading. */
function ping(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => settle(false));
    socket.on("connect", () => socket.write("PING\r\n"));
    socket.on("data", (reply) => settle(!reply.toString().startsWith("-LOADING")));
    socket.on("error", () => settle(false));
    socket.on("close", () => settle(false));
  });
}

/** Redis refuses options it does not know, and DEBUG has had to be allowed since 7.0 (every Valkey is newer). */
async function allowsDebugOption(binary: string): Promise<boolean> {
  const { version } = await readVersion(binary);
  return Number.parseInt(version, 10) >= 7;
}

export interface ServerVersion {
  readonly product: "Redis" | "Valkey";
  readonly version: string;
}

/** What the server says of itself when asked on the command line (to a client, Valkey says that it is Redis 7.2.4). */
export function readVersion(binary: string): Promise<ServerVersion> {
  const known = versions.get(binary) ?? askVersion(binary);
  versions.set(binary, known);
  return known;
}

/** By binary, because starting one for this takes longer than starting a server. */
const versions = new Map<string, Promise<ServerVersion>>();

async function askVersion(binary: string): Promise<ServerVersion> {
  const { stdout } = await run(binary, ["--version"]);
  const [, product, version] = /^(Redis|Valkey) server v=(\S+)/.exec(stdout) ?? [];
  if (product === undefined || version === undefined) {
    throw new Error(`${binary} --version: expected "Redis server v=…" or "Valkey server v=…", got ${stdout.trim()}`);
  }
  return { product: product as ServerVersion["product"], version };
}

/** The server that `HOLDFAST_SERVER` names (the path of a binary), or else the first on the PATH. */
export async function findServerBinary(): Promise<string> {
  const named = process.env["HOLDFAST_SERVER"];
  if (named) {
    if (await isExecutable(named)) return named;
    throw new Error(`HOLDFAST_SERVER: expected the path of a server's binary that can be run, got ${named}`);
  }
  const found = await findOnPath("redis-server", "valkey-server");
  if (found) return found;
  const failure = (await mayInstall()) ? await install("redis-server") : undefined;
  const installed = await findOnPath("redis-server");
  if (installed) return installed;
  throw new Error(
    "No Redis or Valkey server was found, and these tests never run without one. Install redis-server or " +
      "valkey-server so that it is on the PATH (Debian and Ubuntu: apt-get install redis-server; macOS: brew install " +
      "redis), or set REDIS_URL to a server whose data may be lost (tests of crashes and freezes still start their own).",
    failure === undefined ? {} : { cause: failure },
  );
}

/** For certificates. @throws Error where it is missing and cannot be installed */
export async function ensureOpenssl(): Promise<void> {
  if (await findOnPath("openssl")) return;
  const failure = (await mayInstall()) ? await install("openssl") : undefined;
  if (await findOnPath("openssl")) return;
  throw new Error("No openssl was found on the PATH, which makes the certificates for tests of TLS. Install it.", {
    cause: failure,
  });
}

async function mayInstall(): Promise<boolean> {
  return process.getuid?.() === 0 && (await findOnPath("apt-get")) !== undefined;
}

async function findOnPath(...names: string[]): Promise<string | undefined> {
  for (const name of names) {
    for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
      const file = join(folder, name);
      if (folder !== "" && (await isExecutable(file))) return file;
    }
  }
  return undefined;
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Returns why it failed, if it did. Processes that come here at once take turns, and the later ones find it done. */
async function install(name: string): Promise<unknown> {
  const script = `command -v ${name} || { apt-get update -qq && apt-get install -y -qq --no-install-recommends ${name}; }`;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    await run("flock", ["/var/lib/apt", "sh", "-c", script], { env, timeout: installTimeoutMs });
    return undefined;
  } catch (error) {
    return error;
  }
}
