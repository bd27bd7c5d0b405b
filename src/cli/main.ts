#!/usr/bin/env node
/** The command `holdfast`: what it is called with, and what it ends with. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { addConnectionOptions, addReplicasOption, append } from "./connection.ts";
import { parsePermits } from "./permits.ts";
import { parseDuration } from "./durations.ts";
import { elect } from "./elect.ts";
import type { ElectOptions } from "./elect.ts";
import { exec } from "./exec.ts";
import type { ExecOptions } from "./exec.ts";
import { EXIT_CODES_HELP, ExitCode, signalExitCode } from "./exit-codes.ts";
import { CliError, failureOf } from "./failures.ts";
import { LISTING_HELP } from "./listing.ts";
import { ls } from "./ls.ts";
import type { ListOptions } from "./ls.ts";
import { complain } from "./messages.ts";
import { once } from "./once.ts";
import type { OnceOptions } from "./once.ts";
import { release } from "./release.ts";
import type { ReleaseOptions } from "./release.ts";
import { show } from "./show.ts";

const EXEC_HELP = `
The command runs while the lock is held, without a shell. Its environment has
HOLDFAST_LOCK, HOLDFAST_FENCE and HOLDFAST_TOKEN. It has a session of its own:
signals to holdfast are forwarded to it and its children, Ctrl-Z suspends all,
/dev/tty cannot be opened. When the lock is lost they get SIGTERM, then SIGKILL.
If holdfast itself is killed with SIGKILL the command runs on: let what it
changes refuse an older HOLDFAST_FENCE.

Durations: 500ms, 30s, 2m, 1h.
${EXIT_CODES_HELP}`;

/** @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  let status = 0;
  const program = new Command("holdfast")
    .description("Locks for processes on many machines, kept on a Redis or Valkey server.")
    .version(version(), "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "holdfast: ")) })
    .addHelpText("after", `\nholdfast COMMAND --help tells more.\n${EXIT_CODES_HELP}`);
  // What follows is the command's alone: commander would read its options as ours.
  const runs = RUNNING.has(argv[2] ?? "") && argv.includes("--");
  const separator = runs ? argv.indexOf("--") : argv.length;
  const words = argv.slice(separator + 1);
  addExec(program, words, (result) => (status = result));
  addElect(program, words, (result) => (status = result));
  addOnce(program, words, (result) => (status = result));
  addListings(program, (result) => (status = result));
  try {
    await program.parseAsync(argv.slice(0, separator));
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return INFORMATION.has(error.code) ? 0 : ExitCode.usage;
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return signalExitCode("SIGPIPE");
    const { exitCode, message } = failureOf(error);
    await complain(message);
    return exitCode;
  }
}

/** What runs a command of the user's. */
const RUNNING = new Set(["exec", "elect", "once"]);

/** How commander says that it was asked for help or the version. */
const INFORMATION = new Set(["commander.helpDisplayed", "commander.version"]);

type Finish = (status: number) => void;

/** @param words the command to run, with its arguments */
function addExec(program: Command, words: readonly string[], finish: Finish): void {
  const command = program
    .command("exec")
    .summary("hold a lock while a command runs")
    .description("Hold a lock while a command runs, like flock(1), across machines.")
    .option("--lock <name>", "another lock to hold as well; all or none (repeatable)", append)
    .addOption(
      new Option("--wait <time>", "give up after this long; 0: try once (default: never)").argParser(parseDuration),
    )
    .option("--shared", "together with others that share it")
    .addOption(
      new Option("--permits <n/limit>", "so many permits of a semaphore of that limit").argParser(parsePermits),
    );
  addRunningOptions(command, words, async (name, options) => finish(await exec(name, words, options)));
}

/** @param words the command to run, with its arguments */
function addElect(program: Command, words: readonly string[], finish: Finish): void {
  const command = program
    .command("elect")
    .summary("keep a command running on one of many machines")
    .description(
      "Wait until elected, then run a command. When the lease is lost the command is stopped, and " +
        "this machine is a candidate again. When the command ends, so does holdfast, and another " +
        "candidate starts it.",
    );
  addRunningOptions(command, words, async (name, options) => finish(await elect(name, words, options)));
}

/** @param words the command to run, with its arguments */
function addOnce(program: Command, words: readonly string[], finish: Finish): void {
  const command = program
    .command("once")
    .summary("run a command on one of the machines whose cron fires")
    .description("Run a command unless another machine runs it, or ran it just now: then exit with 0 and say who.")
    .addOption(
      new Option("--at-most <time>", "the command is stopped after this long")
        .argParser(parseDuration)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--at-least <time>", "nobody runs it again for so long from its start")
        .default(0, "0")
        .argParser(parseDuration),
    );
  addRunningOptions(command, words, async (name, options) => finish(await once(name, words, options)));
}

/** What all have that run a command. */
function addRunningOptions(
  command: Command,
  words: readonly string[],
  run: (name: string, options: ExecOptions & ElectOptions & OnceOptions) => Promise<void>,
): void {
  command
    .usage("NAME [options] -- COMMAND [ARGUMENT...]")
    .argument("<name>")
    .allowExcessArguments()
    .addOption(
      new Option("--ttl <time>", "how long the lock outlives a crash; it is renewed")
        .default(30_000, "30s")
        .argParser(parseDuration),
    )
    .addOption(
      new Option("--grace <time>", "from SIGTERM to SIGKILL when the lock is lost")
        .default(5_000, "5s")
        .argParser(parseDuration),
    )
    .option("--label <text>", "who holds, for people (default: host:pid:program)")
    .option("--quiet", "only errors on stderr");
  addConnectionOptions(addReplicasOption(command)).addHelpText("after", EXEC_HELP);
  command.action(async (name: string, options: ExecOptions & ElectOptions & OnceOptions) => {
    if (words.length === 0 || command.args.length > 1) {
      const form = `holdfast ${command.name()} NAME -- COMMAND`;
      throw new CliError(ExitCode.usage, `expected "--" and a command after the name: ${form}`);
    }
    await run(name, options);
  });
}

function addListings(program: Command, finish: Finish): void {
  const list = program
    .command("ls")
    .summary("tell what is held and who waits")
    .description("Tell what is held and who waits. The pattern is a glob: quote it.")
    .argument("[pattern]")
    .option("--json", "for programs");
  addConnectionOptions(list).addHelpText("after", LISTING_HELP);
  list.action(async (pattern: string | undefined, options: ListOptions) => {
    finish(await ls(pattern, options));
  });
  const one = program
    .command("show")
    .summary("tell who holds one lock and who waits for it")
    .description("Tell who holds a lock and who waits for it. Exits 0 also when it is free.")
    .argument("<name>")
    .option("--json", "for programs");
  addConnectionOptions(one).addHelpText("after", LISTING_HELP);
  one.action(async (name: string, options: ListOptions) => {
    finish(await show(name, options));
  });
  const free = program
    .command("release")
    .summary("free a lock from whoever holds it")
    .description("Show who holds a lock, and free it. Exits 0 also when nobody held it.")
    .argument("<name>")
    .option("--force", "do it: the holder may still be working");
  addConnectionOptions(free).action(async (name: string, options: ReleaseOptions) => {
    finish(await release(name, options));
  });
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

// Connections and timers of what was given up must not keep a finished command alive.
process.exit(await main(process.argv));
