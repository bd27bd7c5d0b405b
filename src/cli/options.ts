/** The options of the commands, and how their values are read. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { LIBRARIES } from "../drivers/url/connect.ts";
import type { Library } from "../drivers/url/connect.ts";
import { LONGEST_LABEL, SHORTEST_TTL } from "../options/checks.ts";
import { MOST_REPLICAS } from "../options/durability.ts";
import { checkManagerOptions } from "../options/manager.ts";
import { LONGEST_NAME } from "../options/request.ts";
import { MOST_PERMITS } from "../options/semaphore.ts";
import { CliError } from "./cli-error.ts";
import { parseDuration, parseDurationFrom } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";
import { quoted } from "./messages.ts";

export const DEFAULT_SERVER = "redis://127.0.0.1:6379";

/** Of every command: where the locks are. */
export interface ConnectionOptions {
  /** Each of an independent server; undefined if left out. */
  readonly redis?: readonly string[];
  readonly prefix?: string;
  readonly scheme?: "lua" | "set";
  readonly client?: Library;
}

/** Of the commands that take locks, and run a command meanwhile. */
export interface RunningOptions extends ConnectionOptions {
  readonly ttl: number;
  readonly grace: number;
  readonly replicas?: number;
  readonly label?: string;
  readonly quiet?: boolean;
}

export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--redis <url>",
        `the server; repeat for Redlock (default: $REDIS_URL,\nor ${DEFAULT_SERVER})`,
      ).argParser(append),
    )
    .addOption(new Option("--prefix <text>", 'prefix for every key (default: "lock:")').argParser(parsePrefix))
    .addOption(new Option("--scheme <name>", "how locks are kept (default: lua)").choices(["lua", "set"]))
    .addOption(new Option("--client <library>", "the client library").choices(LIBRARIES).hideHelp());
}

export function addRunningOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--ttl <time>", "how long the lock outlives a crash;\nit is renewed")
        .default(30_000, "30s")
        .argParser(parseTtl),
    )
    .addOption(
      new Option("--grace <time>", "when the lock is lost, time between SIGTERM and\nSIGKILL")
        .default(5_000, "5s")
        .argParser(parseDuration),
    )
    .addOption(new Option("--replicas <n>", "only hold the lock once n replicas confirm it").argParser(parseReplicas))
    .addOption(
      new Option("--label <text>", "who holds the lock, for people\n(default: host:pid:program)").argParser(parseLabel),
    )
    .option("--quiet", "print errors only");
}

/** For options that can be repeated. */
export function append(value: string, all: readonly string[] = []): string[] {
  return [...all, value];
}

export const parseTtl: (text: string) => number = parseDurationFrom(SHORTEST_TTL);

const HIGHEST_EXIT_CODE = 255;

/** @throws InvalidArgumentError */
export function parseExitCode(text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) <= HIGHEST_EXIT_CODE) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number from 0 to ${HIGHEST_EXIT_CODE}.`);
}

function parseReplicas(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= MOST_REPLICAS) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number from 1 to ${MOST_REPLICAS}.`);
}

/** @throws CliError for a name that no lock has */
export function checkName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes <= LONGEST_NAME) return name;
  const message = `a lock's name may have at most ${LONGEST_NAME} bytes of UTF-8; this one has ${bytes}`;
  throw new CliError(ExitCode.usage, message);
}

/** @throws CliError for a name that cannot be taken */
export function checkNameToHold(name: string): string {
  // Most likely a shell's variable that is not set: unrelated commands would wait for each other.
  if (name === "") throw new CliError(ExitCode.usage, "the lock's name is empty");
  if (name.startsWith("-"))
    throw new CliError(ExitCode.usage, `a lock's name must not start with "-": ${quoted(name)}`);
  return checkName(name);
}

function parseLabel(text: string): string {
  if (text.length <= LONGEST_LABEL && text.isWellFormed()) return text;
  throw new InvalidArgumentError(`Expected at most ${LONGEST_LABEL} characters.`);
}

function parsePrefix(text: string): string {
  try {
    return checkManagerOptions({ prefix: text }).prefix;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** How many permits, of how many in all. */
export interface Permits {
  readonly permits: number;
  readonly limit: number;
}

/** @throws InvalidArgumentError */
export function parsePermits(text: string): Permits {
  const [, permits = 0, limit = 0] = /^(\d{1,7})\/(\d{1,7})$/.exec(text)?.map(Number) ?? [];
  if (permits >= 1 && permits <= limit && limit <= MOST_PERMITS) return { permits, limit };
  throw new InvalidArgumentError("Expected permits and limit, such as 1/4: one of four.");
}
