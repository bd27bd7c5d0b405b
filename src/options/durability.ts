/** What must have stored a grant before its holder is notified. */
import type { Wish } from "../durability.ts";
import type { SchemeName } from "../schemes/scheme.ts";
import { count, dictionary, duration, flag, onlyAmong } from "./checks.ts";

/**
 * What must have stored a grant before its holder is notified: at least one of `replicas` and `aof`. The grant then
 * survives the server, if one of those that stored it takes its place.
 */
export interface DurabilityOptions {
  /** How many replicas (default 0); with `aof`, how many that have it on their disks. */
  replicas?: number | undefined;
  /**
   * The server's append-only file, on disk (default false). Needs Redis 7.2 or Valkey, and `appendonly yes`. With
   * `appendfsync always` that takes a disk's time; with `everysec` up to a second, in which the client's connection
   * does nothing else; with `no` it never completes.
   */
  aof?: boolean | undefined;
  /**
   * How long that may take, in milliseconds (1 to 4 000, less than the ttl; default 100, or 2 000 with `aof`, and never
   * more than a third of the ttl). It takes that long only if replicas or disk are late; everything sent
   * over the same client then waits as well.
   */
  timeout?: number | undefined;
}

export const MOST_REPLICAS = 1_000;
/** The answer must come within the time limit of a command, {@link COMMAND_LIMIT}, over a network too. */
const LONGEST_PROOF = 4_000;
/** How long replicas may take: a round trip, and room for a fork or a full disk. */
const PROOF_BY_REPLICAS = 100;
/** How long a disk may take: `appendfsync everysec` takes up to 1.02 s. */
const PROOF_BY_DISK = 2_000;

/** Without a timeout if none was given: the default depends on a request's ttl. */
export type CheckedDurability = Omit<Wish, "timeout"> & { readonly timeout: number | undefined };

const DURABILITY_OPTIONS = new Set(["replicas", "aof", "timeout"]);

/** @throws TypeError or RangeError, also if nothing is required */
export function checkDurability(value: unknown): CheckedDurability | null | undefined {
  if (value === undefined || value === null) return value;
  const given = dictionary(value, "durability");
  onlyAmong(given, DURABILITY_OPTIONS, "durability");
  const replicas = count(given["replicas"], "durability.replicas", MOST_REPLICAS, 0) ?? 0;
  const aof = flag(given["aof"], "durability.aof") ?? false;
  const timeout = duration(given["timeout"], "durability.timeout", 1);
  if (timeout !== undefined && timeout > LONGEST_PROOF) {
    throw new RangeError(`Expected durability.timeout to be at most ${LONGEST_PROOF} milliseconds; got ${timeout}.`);
  }
  if (replicas > 0 || aof) return { replicas, aof, timeout };
  throw new RangeError(
    "Expected durability to wish for replicas (at least 1), for aof, or for both; got neither. " +
      "For none leave it out, or give a request null.",
  );
}

/** @throws RangeError if a lease would be over before it is known to be durable */
export function wishFor(durability: CheckedDurability | null | undefined, ttl: number): Wish | undefined {
  if (!durability) return undefined;
  const {
    replicas,
    aof,
    timeout = Math.min(aof ? PROOF_BY_DISK : PROOF_BY_REPLICAS, Math.floor(ttl / 3)),
  } = durability;
  if (timeout < ttl) return { replicas, aof, timeout };
  throw new RangeError(`Expected durability.timeout to be less than the ttl, ${ttl} milliseconds; got ${timeout}.`);
}

/** @throws TypeError if durability is required of a scheme that does not have it */
export function refuseDurability(scheme: SchemeName, durability: object | undefined): void {
  if (!durability) return;
  const remedy =
    scheme === "redlock"
      ? "its grants are on a majority of servers: give each of them appendfsync always"
      : "it has neither replicas nor a disk";
  throw new TypeError(`Expected no durability for the scheme "${scheme}"; got one. Leave it out: ${remedy}.`);
}
