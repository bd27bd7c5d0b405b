/** Failures, and what they become: an exit code and one line for a person. */
import { LockError, LockLostError, LockTimeoutError, SchemeError } from "../errors.ts";
import { ExitCode } from "./exit-codes.ts";

/** A failure of the command line itself. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

export interface Failure {
  readonly exitCode: number;
  readonly message: string;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof CliError) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof LockTimeoutError) return { exitCode: ExitCode.timeout, message: error.message };
  if (error instanceof LockLostError) return { exitCode: ExitCode.lost, message: error.message };
  if (error instanceof LockError && error.code === "no-client") {
    return { exitCode: ExitCode.unavailable, message: error.message };
  }
  if (error instanceof SchemeError) {
    const hint = error.code === "no-scripting" ? " On the command line that is --scheme set." : "";
    return { exitCode: ExitCode.unavailable, message: error.message + hint };
  }
  if (isUsage(error)) return { exitCode: ExitCode.usage, message: error.message };
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { exitCode: ExitCode.unexpected, message: `unexpected failure, please report it: ${trace}` };
}

/** The library's complaints about what it was given. Those of the language look the same, but have other words. */
function isUsage(error: unknown): error is Error {
  if (error instanceof DOMException) return error.name === "NotSupportedError";
  if (error instanceof LockError) return error.code === "unsupported";
  return (error instanceof TypeError || error instanceof RangeError) && error.message.startsWith("Expected ");
}
