import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "./cli-error.ts";
import { ExitCode } from "./exit-codes.ts";
import { quoted } from "./messages.ts";

/** Where execvp looks if PATH is not set. */
const USUAL_PATH = "/usr/local/bin:/bin:/usr/bin";

/** @throws CliError as a shell would that does not find the program, or may not execute it */
export function assertExecutable(file: string): void {
  const folders = (process.env["PATH"] ?? USUAL_PATH).split(":");
  const places = file.includes("/") ? [file] : folders.map((folder) => join(folder || ".", file));
  const failures = places.map((place) => failureToExecute(place));
  if (failures.includes(undefined)) return;
  throw cannotStart(file, failures.find((failure) => failure?.code === "EACCES") ?? failures[0]);
}

function failureToExecute(place: string): NodeJS.ErrnoException | undefined {
  try {
    accessSync(place, constants.X_OK);
    return statSync(place).isFile() ? undefined : Object.assign(new Error("it is not a file"), { code: "EACCES" });
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}

/** @param error what the system says, with its code */
export function cannotStart(file: string, error: unknown): CliError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") {
    return new CliError(ExitCode.notFound, `command not found: ${quoted(file)}`, { cause: error });
  }
  const why = code === "EACCES" ? "permission denied" : (code ?? message);
  return new CliError(ExitCode.notExecutable, `cannot execute ${quoted(file)}: ${why}`, { cause: error });
}
