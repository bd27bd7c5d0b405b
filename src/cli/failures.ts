/** Turns the library's errors into an exit code and a sentence in the command line's words. */
import { DurabilityError, LockError, QuorumError, SchemeError, sentenceOf } from "../errors.ts";
import type { LockErrorCode } from "../errors.ts";
import { diagnose, saidBy } from "../drivers/server-errors.ts";
import { CliError } from "./cli-error.ts";
import { roundDuration } from "./durations.ts";
import { ExitCode } from "./exit-codes.ts";

export interface Failure {
  readonly exitCode: number;
  readonly message: string;
  /** What `holdfast explain` takes, if an error of the library is the reason. */
  readonly code?: LockErrorCode | undefined;
  /** For those who mend the bug. */
  readonly trace?: string;
}

/** A remedy for what the server said, `AS_DIAGNOSED` for the library's; or another exit code and sentence. */
type Words = string | typeof AS_DIAGNOSED | ((error: LockError) => Failure);

const AS_DIAGNOSED = Symbol("as diagnosed");

/** Every code, so that the compiler asks for a new one. */
const WORDS: { readonly [Code in LockErrorCode]: Words } = {
  timeout: () => busy("The lock was not free in time."),
  "queue-full": () => busy("Too many requests are already waiting for the lock. Try again later."),
  lost: () => lost("The lock was lost."),
  stale: () => lost("A later holder of the lock has written already."),
  gone: () => lost("The lock is no longer held under this token."),
  released: () => unexpected("holdfast had released the lock already."),
  closed: () => unexpected("holdfast was shutting down already."),
  unsupported: (error) => usage(inOptions(sentenceOf(error))),
  // exec explains this itself; elect and once take locks only.
  mismatch: ({ message }) => {
    const [name = "The name"] = /"(?:[^"\\]|\\.)*"/.exec(message) ?? [];
    return usage(`${name} is in use as a semaphore, so it cannot be a lock. Use another name.`);
  },
  "not-held": () => unexpected("holdfast expected to hold the lock, and did not."),
  deadlock: () => unexpected("holdfast waits for a lock that it holds itself."),
  "compute-failed": () => unexpected("holdfast could not compute a value."),
  "too-large": () => unexpected("holdfast had a value that is too large."),
  "no-client": (error) =>
    // If a library is installed and does not load, the message says why.
    unavailable(error.cause === undefined ? NO_CLIENT : sentenceOf(error)),
  unreachable: AS_DIAGNOSED,
  "not-authorized":
    "Put a user and password that may use the keys and channels of the prefix into the URL: redis://user:password@host.",
  "no-scripting": "Allow EVAL and EVALSHA, or add --scheme set, which needs no scripts.",
  "read-only": AS_DIAGNOSED,
  loading: AS_DIAGNOSED,
  "out-of-memory": AS_DIAGNOSED,
  evicts: AS_DIAGNOSED,
  "wrong-type": "Something else is stored under this name. Use another name or --prefix.",
  "client-busy": "Something else uses holdfast's connection. Check what stands between holdfast and the server.",
  "wrong-database": "Use a database that the server has and that its account may SELECT: redis://host/0.",
  "too-slow": () => unavailable("The server answers too slowly to hold a lock for this --ttl. Use a longer --ttl."),
  "no-quorum": "Bring the servers back; if they are only slow, use a longer --ttl.",
  "same-server": () => unavailable("Two of the URLs lead to the same server. Redlock needs independent servers."),
  "not-durable": (error) => unavailable(notDurable(error)),
  "no-wait": "Allow WAIT, or leave out --replicas.",
  server: AS_DIAGNOSED,
};

/** Every code that an error can have. */
export const CODES = Object.keys(WORDS) as readonly LockErrorCode[];

const NO_CLIENT =
  "To connect to a server, holdfast needs a Redis client library, and none is installed. Run: npm install ioredis";

const SENTINEL = "If this is a Sentinel (usually port 26379), use a redis+sentinel:// URL.";

/**
 * Where the library advises about clients and their options: here there are URLs. The first that fits what was said.
 */
const REMEDIES: readonly (readonly [said: RegExp, remedy: string])[] = [
  [/certificate/i, "If you have your own certificate authority, set NODE_EXTRA_CA_CERTS to its file."],
  [/^It is one server of a Cluster/, "Use a redis+cluster:// URL."],
  [/cluster support disabled/, "The server is not part of a Cluster. Use a redis:// URL."],
  [/No such master with that name/, "The Sentinels watch no master by this name. Check the name in the URL."],
  [/^no answer within/, "Check that it runs, and that its address and port are right (rediss:// if it wants TLS)."],
  [/^ERR unknown command/i, `The server lacks a command that holdfast needs; it may be a proxy. ${SENTINEL}`],
];

/**
 * Arguments are checked before the library sees them, or when it gets them. So a TypeError from anywhere else
 * is a bug, whatever it says.
 */
export function failureOf(error: unknown): Failure {
  if (error instanceof CliError) {
    const { exitCode, message, cause } = error;
    return { exitCode, message, code: cause instanceof LockError ? cause.code : undefined };
  }
  if (error instanceof LockError) return { ...inOurWords(error), code: error.code };
  const trace = error instanceof Error ? `${error.stack}\n` : "";
  return { ...unexpected(`unexpected failure, please report it: ${String(error)}`), trace };
}

/** A sentence, and what to type to read more. */
export function withPointer(message: string, code: LockErrorCode | undefined): string {
  return code === undefined ? message : `${message} (holdfast explain ${code})`;
}

function inOurWords(error: LockError): Failure {
  const words = WORDS[error.code];
  if (typeof words === "function") return words(error);
  const remedy = words === AS_DIAGNOSED ? remedyFor(error) : words;
  return unavailable([`${whatWasSaid(error)}.`, remedy].join(" ").trim());
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
  const cause = causeOf(error);
  if (cause === undefined) return inUnits(saidBy(error).replace(" (delayRestarted)", ""));
  const { subject, said } = diagnose(cause);
  return inUnits(`${subject}: ${said}`);
}

/** Empty if the message of the error says it. */
function remedyFor(error: LockError): string {
  const cause = causeOf(error);
  if (cause instanceof SchemeError) return remedyFor(cause);
  if (cause === undefined) return "";
  const { said, remedy } = diagnose(cause);
  return REMEDIES.find(([test]) => test.test(said))?.[1] ?? remedy;
}

/** The client's or the server's error; of several servers, that of the first that failed. */
function causeOf(error: LockError): Error | undefined {
  const [cause] = error instanceof SchemeError ? error.causes : [];
  return cause instanceof Error ? cause : undefined;
}

/** Durations as they are typed here. */
function inUnits(text: string): string {
  return text.replace(/\b(\d+) ms\b/g, (_, duration: string) => roundDuration(Number(duration)));
}

function notDurable(error: LockError): string {
  if (!(error instanceof DurabilityError)) return `${saidBy(error)}. Check that the replicas are connected.`;
  const { required, reached } = error;
  return (
    `Only ${reached.replicas} of ${required.replicas} replicas confirmed the grant in time, so it was released again. ` +
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

function unexpected(message: string): Failure {
  return { exitCode: ExitCode.unexpected, message };
}
