/** Where our words end and the command's begin. */
import type { Command } from "commander";
import { CliError } from "./cli-error.ts";
import { ExitCode } from "./exit-codes.ts";
import { plain, quoted } from "./messages.ts";

export interface Words {
  /** The words for commander. */
  readonly own: readonly string[];
  /** The command to run, with its arguments: all that follows "--", untouched. */
  readonly command: readonly string[];
}

/** @throws CliError where no command is given, or where "--" is missing, with what it should look like */
export function splitWords(verb: Command, args: readonly string[]): Words {
  const { operands, separator } = findOperands(verb, args);
  const form = `holdfast ${verb.name()}`;
  const [name, second] = operands;
  if (second !== undefined && separator < 0) {
    throw usage(
      `"--" is missing before the command. Try: ${form} ${inShell(args.slice(0, second))} -- ${inShell(args.slice(second))}`,
    );
  }
  if (second !== undefined && name !== undefined) {
    const two = inShell([args[name] as string, args[second] as string]);
    throw usage(
      `expected one name before "--", got ${two}. Put quotes around a name with spaces: ${form} 'a name' -- COMMAND`,
    );
  }
  if (separator < 0) return { own: args, command: [] };
  return { own: args.slice(0, separator), command: args.slice(separator + 1) };
}

/** @throws CliError */
export function assertCommand(verb: Command, name: string, command: readonly string[]): void {
  if (command.length > 0) return;
  throw usage(`no command to run. Write it after "--": holdfast ${verb.name()} ${inShell([name])} -- COMMAND`);
}

/**
 * Where the words stand that are neither options nor their values, up to the second; and the first "--". None behind an
 * unknown option: whether it has a value is unknown, and commander will refuse it.
 */
function findOperands(verb: Command, args: readonly string[]): { operands: number[]; separator: number } {
  const separator = args.indexOf("--");
  const operands: number[] = [];
  const end = separator < 0 ? args.length : separator;
  for (let i = 0; i < end && operands.length < 2; i++) {
    const word = args[i] as string;
    const [flag] = word.split("=", 1);
    const option = verb.options.find(({ long, short }) => flag === long || flag === short);
    if (!word.startsWith("-") || word === "-") operands.push(i);
    else if (!option) break;
    else if (option.required && flag === word) i++;
  }
  return { operands, separator };
}

/** As a shell would take it. */
function inShell(words: readonly string[]): string {
  return words
    .map((word) => {
      if (/^[\w@%+=:,./-]+$/.test(word)) return word;
      return plain(word).startsWith('"') ? quoted(word) : `'${word.replaceAll("'", `'\\''`)}'`;
    })
    .join(" ");
}

function usage(message: string): CliError {
  return new CliError(ExitCode.usage, message);
}
