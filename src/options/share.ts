import { abortSignal, count, dictionary, duration, flag, onlyAmong, show } from "./checks.ts";
import { checkRequest } from "./request.ts";
import type { CheckedRequest, Defaults } from "./request.ts";

/** How a value travels between processes. */
export interface Codec<T> {
  /** @returns well-formed text, as for UTF-8 */
  encode(value: T): string;
  decode(text: string): T;
}

/** Settings of a shared computation. Durations are in milliseconds. */
export interface ShareOptions<T> {
  /**
   * How long after it was made a value is given to callers. 0: only to those who asked before it was made.
   */
  ttl: number;
  /**
   * What happens if `compute` throws. `false` (the default): waiting callers reject with `LockError` `compute-failed`.
   * `true`: the next one computes.
   */
  retry?: boolean | undefined;
  /** How the value travels (default: JSON). */
  codec?: Codec<T> | undefined;
  /** How many bytes of UTF-8 the encoded value may have (default 1 MiB, at most 64 MiB). */
  maxSize?: number | undefined;
  /** Stops waiting. No effect once this call computes. */
  signal?: AbortSignal | undefined;
}

export interface CheckedShare {
  readonly name: string;
  readonly ttl: number;
  readonly retry: boolean;
  readonly codec: Codec<unknown>;
  readonly maxSize: number;
  readonly signal: AbortSignal | undefined;
  /** What all its requests have in common. */
  readonly request: CheckedRequest;
}

const SHARE_OPTIONS = new Set(["ttl", "retry", "codec", "maxSize", "signal"]);
const MAX_SIZE = 2 ** 20;
const LARGEST = 64 * MAX_SIZE;

/** JSON, and `undefined`, which JSON does not have. */
const JSON_CODEC: Codec<unknown> = {
  encode(value) {
    const text = value === undefined ? "" : (JSON.stringify(value) as string | undefined);
    if (text !== undefined) return text;
    throw new TypeError(`JSON cannot hold ${show(value)}. Return something else, or give a codec.`);
  },
  decode: (text) => (text === "" ? undefined : (JSON.parse(text) as unknown)),
};

/** @throws what `checkRequest` throws, TypeError or RangeError */
export function checkShare(name: unknown, options: unknown, manager: Defaults): CheckedShare {
  const given = dictionary(options, "options");
  onlyAmong(given, SHARE_OPTIONS);
  const request = checkRequest(name, undefined, manager, "acquire");
  const ttl = duration(given["ttl"], "ttl", 0);
  if (ttl === undefined) throw new TypeError("Expected ttl, how long the value is given out; got undefined.");
  return {
    name: request.lock,
    ttl,
    retry: flag(given["retry"], "retry") ?? false,
    codec: checkCodec(given["codec"]),
    maxSize: count(given["maxSize"], "maxSize", LARGEST) ?? MAX_SIZE,
    signal: abortSignal(given["signal"]),
    request,
  };
}

function checkCodec(value: unknown): Codec<unknown> {
  if (value === undefined) return JSON_CODEC;
  const { encode, decode } = dictionary(value, "codec");
  if (typeof encode === "function" && typeof decode === "function") return value as Codec<unknown>;
  throw new TypeError(`Expected codec to have the functions encode and decode; got ${show(value)}.`);
}
