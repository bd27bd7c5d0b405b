/**
 * Messages for people, on stderr, and results for people or programs, on stdout. Nothing else writes there.
 *
 * Names, labels and what servers say come from strangers. No character of theirs that a terminal would obey, or that
 * would make a text look like another, gets out as it is: `quoted` and `plain` show where a name begins and ends, and
 * `harmless` is applied to all that is written.
 */
import { write, writeSync } from "node:fs";
import { CliError } from "./cli-error.ts";
import { ExitCode, signalExitCode } from "./exit-codes.ts";

const STDERR = 2;

/**
 * One line; a trace may follow. Resolves when it is written, and never rejects. Not through process.stderr: that stops
 * the whole process while nobody reads the pipe or the terminal is paused (Ctrl-S), and a process that stands still
 * cannot stop a command whose lock is lost.
 */
export function complain(message: string, trace = ""): Promise<void> {
  return new Promise((resolve) => write(STDERR, lineOf(message) + harmless(trace), () => resolve()));
}

/** For what is said right before holdfast suspends itself: it is written when this returns. */
export function complainAtOnce(message: string): void {
  try {
    writeSync(STDERR, lineOf(message));
  } catch {
    // Nobody reads it.
  }
}

function lineOf(message: string): string {
  return `holdfast: ${harmless(message).replaceAll("\n", "\\n")}\n`;
}

/**
 * @throws CliError with the exit code to end with when it cannot be written; without a message if the reader has gone
 */
export async function print(text: string): Promise<void> {
  const { stdout } = process;
  // An error that is passed to the callback is also emitted, and would end the process without a listener.
  stdout.once("error", ignore);
  const error = await new Promise<Error | null | undefined>((resolve) => stdout.write(`${harmless(text)}\n`, resolve));
  if (!error) {
    stdout.off("error", ignore);
    return;
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EPIPE") throw new CliError(signalExitCode("SIGPIPE"), "", { cause: error });
  throw new CliError(ExitCode.output, `cannot write the output: ${error.message}`, { cause: error });
}

function ignore(): void {}

/** Characters that do something, cannot be seen, or break a line. The emoji's variation selectors are spared. */
const ODD = /(?![\ufe0e\ufe0f])[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** The text, its odd characters as `\u` and four hexadecimal digits; also within JSON. Our own line breaks stay. */
export function harmless(text: string): string {
  return text.replace(ODD, (character) => (character === "\n" ? "\n" : escaped(character)));
}

/** In a sentence: always in quotes. */
export function quoted(text: string): string {
  return JSON.stringify(text)
    .replace(/(?! )\p{Z}/gu, escaped)
    .replace(ODD, escaped);
}

/** In a table, or where most are single words: as it is if that is unmistakable, else quoted. */
export function plain(text: string): string {
  const quotes = quoted(text);
  return /^\S+( \S+)*$/.test(text) && quotes === `"${text}"` ? text : quotes;
}

function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${hex(character.charCodeAt(i))}`).join("");
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, "0");
}
