import { constants } from "node:os";

/** Exit codes of holdfast's own: those of sysexits.h, and of a shell that cannot run a command. */
export const ExitCode = {
  usage: 64,
  unavailable: 69,
  lost: 70,
  unexpected: 71,
  timeout: 75,
  notExecutable: 126,
  notFound: 127,
} as const;

/** What a shell reports of a command that a signal ended. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

export const EXIT_CODES_HELP = `
Exit codes:
   64  wrong usage
   69  the server, or the client library for it, cannot be used
   70  the lock was lost while the command ran
   71  an unexpected failure of holdfast
   75  the lock was not free in time
  126  the command cannot be executed
  127  the command was not found
  else the command's own, or 128 + the number of the signal that ended it`;
