/** The commands, and what they are called with. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { CliError } from "./cli-error.ts";
import { addCompletion } from "./completion.ts";
import { addDoctor, doctor } from "./doctor.ts";
import { parseDuration } from "./durations.ts";
import { elect } from "./elect.ts";
import { exec } from "./exec.ts";
import type { ExecOptions } from "./exec.ts";
import { ExitCode } from "./exit-codes.ts";
import { addExplain } from "./explain.ts";
import { failureOf, withPointer } from "./failures.ts";
import { ELECT_HELP, EXEC_HELP, LS_HELP, ONCE_HELP, PROGRAM_HELP, RELEASE_HELP, SHOW_HELP } from "./help.ts";
import { ls } from "./ls.ts";
import type { ListOptions } from "./ls.ts";
import { complain, print, quoted } from "./messages.ts";
import { once } from "./once.ts";
import type { OnceOptions } from "./once.ts";
import {
  addConnectionOptions,
  addRunningOptions,
  append,
  checkName,
  checkNameToHold,
  parseExitCode,
  parsePermits,
  parseTtl,
} from "./options.ts";
import { release } from "./release.ts";
import type { ReleaseOptions } from "./release.ts";
import { show } from "./show.ts";
import { addUi, ui } from "./ui.ts";
import { addWatch } from "./watch.ts";
import { assertCommand, splitWords } from "./words.ts";

/** @returns the exit code; what went wrong has been said */
export async function run(args: readonly string[]): Promise<number> {
  try {
    return await interpret(args);
  } catch (error) {
    const { exitCode, message, code, trace } = failureOf(error);
    if (message) await complain(withPointer(message, code), trace);
    return exitCode;
  }
}

/** @throws what `failureOf` puts into words */
export function interpret(args: readonly string[]): Promise<number> {
  return new Program().run(args);
}

/** The commands with their options, for the man page. */
export function describe(): Command {
  return new Program().commands;
}

type AnyOptions = ExecOptions & OnceOptions;
/** @returns the exit code */
type Runner = (name: string, words: readonly string[], options: AnyOptions) => Promise<number>;

class Program {
  readonly #program = new Command("holdfast");
  /** The command to run, with its arguments. */
  #words: readonly string[] = [];
  #status = 0;
  /** Commander's output. */
  #text = "";

  constructor() {
    this.#program
      .usage("COMMAND [options]")
      .description("Locks for processes on many machines, kept on a Redis or Valkey server.")
      .version(version(), "-V, --version", "print the version")
      .helpOption("-h, --help", "print this help")
      .helpCommand("help [command]", "explain a command")
      .configureHelp({ subcommandTerm: (command) => command.name() })
      .exitOverride()
      .configureOutput({
        writeOut: (text) => (this.#text += text),
        writeErr: (text) => (this.#text += text),
        outputError: (text, write) => write(text.replace(/^error: /, "")),
      })
      .addHelpText("after", PROGRAM_HELP);
    this.#addExec();
    this.#addElect();
    this.#addOnce();
    this.#addListings();
    this.#addRelease();
    addDoctor(this.#program, async (options) => {
      this.#status = await doctor(options);
    });
    addUi(this.#program, async (options) => {
      this.#status = await ui(options);
    });
    addWatch(this.#program, (status) => (this.#status = status));
    addExplain(this.#program);
    addCompletion(this.#program);
  }

  /** The commands, for the man page and tests. */
  get commands(): Command {
    return this.#program;
  }

  /** @returns the exit code */
  async run(args: readonly string[]): Promise<number> {
    try {
      await this.#program.parseAsync(this.#takeWords(args), { from: "user" });
      return this.#status;
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      // Help, or the version.
      if (error.exitCode !== 0) throw new CliError(ExitCode.usage, this.#complaint(error, args), { cause: error });
      await print(this.#text.trimEnd());
      return 0;
    }
  }

  #complaint({ code }: CommanderError, [first = "", second]: readonly string[]): string {
    if (code === "commander.help" && second !== undefined) return `unknown command ${quoted(second)}`;
    if (code === "commander.help") return 'no command given; "holdfast help" lists the commands';
    const hint =
      code === "commander.unknownOption" && first.startsWith("-")
        ? `; options follow the command: holdfast COMMAND ${first}`
        : "";
    return inPlainWords(this.#text.trimEnd()) + hint;
  }

  /** Everything after "--" belongs to the command: commander would read its options as ours. */
  #takeWords(args: readonly string[]): readonly string[] {
    const [first, ...rest] = args;
    const verb = this.#program.commands.find((each) => each.name() === first && RUNNING.has(each.name()));
    if (!verb) return args;
    const { own, command } = splitWords(verb, rest);
    this.#words = command;
    return [verb.name(), ...own];
  }

  #addExec(): void {
    const command = this.#program
      .command("exec")
      .summary("hold a lock while a command runs")
      .description("Hold a lock while a command runs: flock(1) across machines.")
      .option("--lock <name>", "another lock to hold as well, all or none (repeatable)", append)
      .addOption(
        new Option("--wait <time>", "give up after this long; 0: do not wait\n(default: wait indefinitely)").argParser(
          parseDuration,
        ),
      )
      .addOption(
        new Option("--conflict-exit-code <n>", "exit code if the lock is not free\nin time")
          .default(ExitCode.busy)
          .argParser(parseExitCode),
      )
      .option("--shared", "share the lock with others that use --shared")
      .addOption(
        new Option("--permits <n/limit>", "hold n of the limit permits of a semaphore,\nsuch as 1/4").argParser(
          parsePermits,
        ),
      );
    this.#runs(command, EXEC_HELP, exec);
  }

  #addElect(): void {
    const command = this.#program
      .command("elect")
      .summary("keep a command running on exactly one machine")
      .description(
        "Wait until this machine is elected, then run a command. If the lock is lost, " +
          "the command is stopped, and this machine waits to be elected again. When the " +
          "command ends, holdfast ends too, and another machine starts the command.",
      );
    this.#runs(command, ELECT_HELP, elect);
  }

  #addOnce(): void {
    const command = this.#program
      .command("once")
      .summary("run a command on one of the machines that call this")
      .description(
        "Run a command unless another machine is running it or has just run it. If " +
          "another machine has, say which one and exit with 0.",
      )
      .addOption(
        new Option("--at-most <time>", "stop the command after this long (required)")
          .argParser(parseTtl)
          .makeOptionMandatory(),
      )
      .addOption(
        new Option("--at-least <time>", "do not run it again until this long after its start")
          .default(0, "0")
          .argParser(parseDuration),
      );
    this.#runs(command, ONCE_HELP, once);
  }

  /** What all commands share that run a command. */
  #runs(command: Command, help: string, runner: Runner): void {
    command.usage("NAME [options] -- COMMAND [ARGUMENT...]").argument("<name>");
    addConnectionOptions(addRunningOptions(command)).addHelpText("after", help);
    command.action(async (name: string, options: AnyOptions) => {
      assertCommand(command, name, this.#words);
      checkNameToHold(name);
      try {
        this.#status = await runner(name, this.#words, options);
      } catch (error) {
        if (!(error instanceof CliError && error.expected && options.quiet)) throw error;
        this.#status = error.exitCode;
      }
    });
  }

  #addListings(): void {
    const list = this.#program
      .command("ls")
      .summary("list locks: who holds them and who waits")
      .description("List the locks that are held or waited for. PATTERN is a glob; quote it.")
      .usage("[PATTERN] [options]")
      .argument("[pattern]")
      .option("--json", "print JSON");
    addConnectionOptions(list).addHelpText("after", LS_HELP);
    list.action(async (pattern: string | undefined, options: ListOptions) => {
      this.#status = await ls(pattern, options);
    });
    const one = this.#program
      .command("show")
      .summary("show who holds one lock and who waits for it")
      .description("Show who holds a lock and who waits for it. Exits with 0 even if it is free.")
      .usage("NAME [options]")
      .argument("<name>")
      .option("--json", "print JSON");
    addConnectionOptions(one).addHelpText("after", SHOW_HELP);
    one.action(async (name: string, options: ListOptions) => {
      this.#status = await show(checkName(name), options);
    });
  }

  #addRelease(): void {
    const command = this.#program
      .command("release")
      .summary("take a lock from its holder")
      .description("Show who holds a lock and, with --force, take it away from them.")
      .usage("NAME [options]")
      .argument("<name>")
      .option("--force", "release the lock although its holder may still be\nworking");
    addConnectionOptions(command).addHelpText("after", RELEASE_HELP);
    command.action(async (name: string, options: ReleaseOptions) => {
      this.#status = await release(checkName(name), options);
    });
  }
}

/** The commands that run one of the user's. */
const RUNNING = new Set(["exec", "elect", "once"]);

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** Commander's messages about options and arguments. */
function inPlainWords(text: string): string {
  return text
    .replace("\n(Did you mean", " (did you mean")
    .replace(/^missing required argument 'name'$/, "the lock's name is missing")
    .replace(/^required option '(\S+)[^']*' not specified$/, "$1 is missing")
    .replace(/^option '(\S+)[^']*' argument missing$/, "$1 needs a value")
    .replace(
      /^option '(\S+)[^']*' argument '([^]*)' is invalid\. /,
      (_, flag: string, value: string) => `${flag} cannot be ${quoted(value)}. `,
    )
    .replace(
      /^command-argument value '([^]*)' is invalid for argument '(\w+)'\. /,
      (_, value: string, argument: string) => `${argument} cannot be ${quoted(value)}. `,
    )
    .replace(/ Allowed choices are (.*)\.$/, " Expected one of: $1.");
}
