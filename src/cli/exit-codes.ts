import { constants } from "node:os";

/** Exit codes of holdfast's own: those of sysexits.h, and of a shell that cannot run a command. */
export const ExitCode = {
  usage: 64,
  unavailable: 69,
  lost: 70,
  unexpected: 71,
  output: 74,
  busy: 75,
  notExecutable: 126,
  notFound: 127,
} as const;

/** The exit code that a shell reports for a command ended by a signal. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
