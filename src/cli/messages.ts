/** What is said to people, on stderr, and what is printed for them or for programs, on stdout. */
import { write } from "node:fs";

const STDERR = 2;

/**
 * Resolves when it is written, and never rejects. Not through process.stderr: that stops the whole process while
 * nobody reads the pipe or the terminal is paused (Ctrl-S), and a process that stands still cannot stop a command
 * whose lock is lost.
 */
export function complain(message: string): Promise<void> {
  return new Promise((resolve) => write(STDERR, `holdfast: ${message}\n`, () => resolve()));
}

/** Rejects with EPIPE when the reader has gone, as in `holdfast ls | head -1`. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.once("error", reject);
    process.stdout.write(`${text}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** As it stands where that is unmistakable, else quoted: names may hold anything, also what terminals obey. */
export function plain(text: string): string {
  if (/^(?!")[\p{L}\p{M}\p{N}\p{P}\p{S}]+( [\p{L}\p{M}\p{N}\p{P}\p{S}]+)*$/u.test(text)) return text;
  return JSON.stringify(text).replace(/(?! )[\p{C}\p{Z}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => `\\u${hex(character.charCodeAt(i))}`).join(""),
  );
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, "0");
}
