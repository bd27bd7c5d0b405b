/** `holdfast ui`: the dashboard, for those who know the secret in its URL. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { Server } from "node:http";
import { isIPv4, isIPv6 } from "node:net";
import type { AddressInfo } from "node:net";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { CliError } from "./cli-error.ts";
import { Session } from "./connection.ts";
import { ExitCode, signalExitCode } from "./exit-codes.ts";
import { print, quoted } from "./messages.ts";
import { addConnectionOptions } from "./options.ts";
import type { ConnectionOptions } from "./options.ts";

export interface UiOptions extends ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly allowRelease?: boolean;
}

const HELP = `
Anyone who has the page's URL can see it: the URL contains a secret, which is random
unless HOLDFAST_UI_SECRET sets it (16 to 200 letters, digits, "-" and "_").
Beyond this machine (--host) it must be set, and the traffic is plain HTTP: put
a proxy with TLS in front of it, or use an SSH tunnel instead.
Ctrl-C ends it.`;

/** Declares the command. */
export function addUi(program: Command, action: (options: UiOptions) => Promise<void>): void {
  const command = program
    .command("ui")
    .summary("serve a live page of all locks")
    .description("Serve a page that shows who holds which lock, who waits and what is stuck.")
    .usage("[options]")
    .addOption(new Option("--host <address>", "where to listen").default("127.0.0.1"))
    .addOption(
      new Option("--port <n>", "the port to listen on; 0: any free one")
        .default(0, "any free one")
        .argParser(parsePort),
    )
    .option("--allow-release", "let viewers take locks from their holders");
  addConnectionOptions(command).addHelpText("after", HELP);
  command.action(action);
}

/** @throws CliError */
export async function ui(options: UiOptions): Promise<number> {
  const secret = secretFor(options.host);
  await using session = await Session.open(options, {});
  // No other command needs it, or should load it.
  const { createDashboard, nodeHandler } = await import("../dashboard.ts");
  const dashboard = createDashboard(session.locks, {
    readOnly: !options.allowRelease,
    authorize: ({ url }) => isSame(new URL(url).pathname.split("/")[1] ?? "", secret),
  });
  const server = createServer(nodeHandler(dashboard));
  try {
    const ended = Promise.race(ENDING.map(async (signal) => (await once(process, signal), signal)));
    const address = await listen(server, options);
    await print(`The locks are shown at ${address}/${secret}/`);
    return signalExitCode(await ended);
  } finally {
    dashboard.close();
    server.closeAllConnections();
    server.close();
  }
}

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** @returns the URL up to the path */
async function listen(server: Server, { host, port }: UiOptions): Promise<string> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "the port is in use. Choose another one, or leave out --port" : message;
    throw new CliError(ExitCode.usage, `cannot listen on port ${port} of ${quoted(host)}: ${why}`, { cause: error });
  }
  const { port: chosen } = server.address() as AddressInfo;
  return `http://${isIPv6(host) ? `[${host}]` : host}:${chosen}`;
}

function secretFor(host: string): string {
  const given = process.env["HOLDFAST_UI_SECRET"];
  if (given !== undefined && !/^[\w-]{16,200}$/.test(given)) {
    const form = 'Expected 16 to 200 letters, digits, "-" and "_".';
    throw new CliError(ExitCode.usage, `HOLDFAST_UI_SECRET cannot be used as a part of a URL. ${form}`);
  }
  if (given === undefined && !isLoopback(host)) {
    throw new CliError(
      ExitCode.usage,
      `--host ${quoted(host)} can be reached from other machines, so a secret is needed. ` +
        "Set HOLDFAST_UI_SECRET, for example to the output of: openssl rand -hex 16",
    );
  }
  return given ?? randomBytes(16).toString("base64url");
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** In a time that does not depend on how much of them is the same. */
function isSame(a: string, b: string): boolean {
  const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hashOf(a), hashOf(b));
}

const HIGHEST_PORT = 65_535;

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= HIGHEST_PORT) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number from 0 to ${HIGHEST_PORT}.`);
}
