/** What the library's errors become on the command line: an exit code, and a sentence in the command line's words. */
import { DurabilityError, LockError, QuorumError, SchemeError } from "../errors.ts";
import type { LockErrorCode } from "../errors.ts";
import { saidBy } from "../drivers/server-errors.ts";
import { CliError } from "./cli-error.ts";
import { roundDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";

export interface Failure {
  readonly exitCode: number;
  readonly message: string;
  /** For whoever mends the bug. */
  readonly trace?: string;
}

/** What is wrong with the server, and what to do; or another exit code and sentence. */
type Words = string | ((error: LockError) => Failure);

const CHECK_ADDRESS = "Check that it runs and that the address is right (--redis or REDIS_URL).";

/** Every code, so that the compiler asks for a new one. A string follows what the server said. */
const WORDS: { readonly [Code in LockErrorCode]: Words } = {
  timeout: () => busy("The lock was not free in time."),
  "queue-full": () => busy("Too many requests are already waiting for the lock. Try again later."),
  lost: () => lost("The lock was lost."),
  stale: () => lost("A later holder of the lock has written already."),
  gone: () => lost("The lock is no longer held under this token."),
  closed: () => ({ exitCode: ExitCode.unexpected, message: "holdfast was shutting down already." }),
  unsupported: ({ message }) => usage(inOptions(message)),
  mismatch: () => usage("The name is in use as a semaphore, or as one with another limit. Use another name."),
  "no-client": ({ message, cause }) =>
    // If a library is installed and does not load, the message says why.
    unavailable(cause === undefined ? NO_CLIENT : message),
  unreachable: CHECK_ADDRESS,
  "not-authorized":
    "Put a user and password that may use the keys and channels of the prefix into the URL: redis://user:password@host.",
  "no-scripting": "Allow EVAL and EVALSHA, or add --scheme set, which needs no scripts.",
  "read-only":
    "The server accepts no writes at the moment. If it is a replica, use its primary; otherwise fix what it complains about.",
  loading: "The server is still reading its data from disk. Try again when it is up.",
  "out-of-memory": "Raise the server's maxmemory, or free some memory.",
  "wrong-type": "Something else is stored under this name; use another name or --prefix.",
  "too-slow": () => unavailable("The server answers too slowly to hold a lock for this --ttl. Use a longer --ttl."),
  "no-quorum": "Bring the servers back; if they are only slow, use a longer --ttl.",
  "same-server": () => unavailable("Two of the URLs lead to the same server. Redlock needs independent servers."),
  "not-durable": (error) => unavailable(notDurable(error)),
  "no-wait": "Allow WAIT, or leave out --replicas.",
  server: "Try again, or fix what the server complains about.",
};

const NO_CLIENT =
  "To connect to a server, holdfast needs a Redis client library, and none is installed. Run: npm install ioredis";

export function failureOf(error: unknown): Failure {
  if (error instanceof CliError) return error;
  if (error instanceof LockError) return inOurWords(error);
  if (isUsage(error)) return usage(error.message);
  const trace = error instanceof Error ? `${error.stack}\n` : "";
  return { exitCode: ExitCode.unexpected, message: `unexpected failure, please report it: ${String(error)}`, trace };
}

function inOurWords(error: LockError): Failure {
  const words = WORDS[error.code];
  return typeof words === "string" ? unavailable(`${whatWasSaid(error)}. ${words}`) : words(error);
}

/** By the server, or each of several, without the library's advice. */
function whatWasSaid(error: LockError): string {
  if (error instanceof QuorumError) {
    const votes = error.votes.map(({ node, vote, cause }) => {
      const answer = { yes: "yes", no: "no", unknown: "no answer yet", failed: "failed" }[vote];
      return `${node}: ${cause instanceof LockError ? whatWasSaid(cause) : answer}`;
    });
    return `A majority of the ${votes.length} servers is needed, and too few can be used (${votes.join("; ")})`;
  }
  if (!(error instanceof SchemeError) || error.causes.length === 0) return inUnits(saidBy(error));
  const subject = error.code === "unreachable" ? "The server cannot be reached" : "The server refused";
  return `${subject}: ${inUnits(saidBy(error.causes[0]))}`;
}

/** Durations as they are typed here. */
function inUnits(text: string): string {
  return text.replace(/\b(\d+) ms\b/g, (_, duration: string) => roundDuration(Number(duration)));
}

function notDurable(error: LockError): string {
  if (!(error instanceof DurabilityError)) return `${saidBy(error)}. Check that the replicas are connected.`;
  const { wanted, reached } = error;
  return (
    `Only ${reached.replicas} of ${wanted.replicas} replicas confirmed the grant in time, so it was released again. ` +
    "Check that the replicas are connected (INFO replication), or use a smaller --replicas."
  );
}

/** `The scheme "set" has no shared locks. Use the scheme "lua".` */
function inOptions(message: string): string {
  return message
    .replace(/^The scheme "(\w+)"/, "--scheme $1")
    .replace(/ Use the scheme "lua"\.$/, " Leave --scheme out.");
}

function usage(message: string): Failure {
  return { exitCode: ExitCode.usage, message };
}

function unavailable(message: string): Failure {
  return { exitCode: ExitCode.unavailable, message };
}

function busy(message: string): Failure {
  return { exitCode: ExitCode.busy, message };
}

function lost(message: string): Failure {
  return { exitCode: ExitCode.lost, message };
}

/** The library's complaints about what it was given. Those of the language look the same, but have other words. */
function isUsage(error: unknown): error is Error {
  if (error instanceof DOMException) return error.name === "NotSupportedError";
  return (error instanceof TypeError || error instanceof RangeError) && error.message.startsWith("Expected ");
}
