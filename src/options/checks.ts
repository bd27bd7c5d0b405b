/** Checks of options: each returns its argument, or throws an error that says what was expected and what came. */
import { escapeOdd, quote } from "../errors.ts";

/** The shortest lease, in milliseconds. */
export const SHORTEST_TTL = 50;

/** @throws TypeError or RangeError unless `value` is undefined or a safe integer of at least `least`. */
export function duration(value: unknown, name: string, least: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  const expected = `Expected ${name} to be a whole number of at least ${least} milliseconds; got ${show(value)}.`;
  throw typeof value === "number" ? new RangeError(expected) : new TypeError(expected);
}

/**
 * A misspelt option would otherwise be ignored silently.
 *
 * @throws TypeError
 */
export function onlyAmong(given: Record<string, unknown>, allowed: ReadonlySet<string>, of = "options"): void {
  for (const key of Object.keys(given)) {
    if (allowed.has(key)) continue;
    const meant = nearest(key, allowed);
    const hint = meant === undefined ? `The options are ${[...allowed].join(", ")}.` : `Did you mean ${meant}?`;
    throw new TypeError(`Unknown option ${show(key)} in ${of}. ${hint}`);
  }
}

/**
 * What was probably meant: the same word in another case, with one typing error, a part of it, or with the same
 * beginning.
 */
function nearest(word: string, allowed: ReadonlySet<string>): string | undefined {
  const given = word.toLowerCase();
  const all = [...allowed].map((name) => [name, name.toLowerCase()] as const);
  const found =
    all.find(([, name]) => name === given) ??
    all.find(([, name]) => isOneSlipFrom(given, name)) ??
    all.find(([, name]) => given.length >= 3 && (name.includes(given) || given.includes(name))) ??
    all.find(([, name]) => given.length >= 3 && name.startsWith(given.slice(0, 3)));
  return found?.[0];
}

/** One letter more, less, or another. */
function isOneSlipFrom(a: string, b: string): boolean {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  const [rest, others] = [a.slice(i), b.slice(i)];
  return rest.slice(1) === others.slice(1) || rest.slice(1) === others || rest === others.slice(1);
}

export function dictionary(value: unknown, name: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object") throw new TypeError(`Expected ${name} to be an object; got ${show(value)}.`);
  return value as Record<string, unknown>;
}

export function flag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw new TypeError(`Expected ${name} to be true or false; got ${show(value)}.`);
}

export function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  // Web IDL converts to a string before it compares, so an object with a fitting toString() passes.
  const text = typeof value === "symbol" || !canBeText(value) ? undefined : String(value);
  const found = allowed.find((each) => each === text);
  if (!found) throw new TypeError(`Expected ${name} to be ${allowed.map(show).join(" or ")}; got ${show(value)}.`);
  return found;
}

/** JavaScript has no words for an object without these methods. */
function canBeText(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  const { toString, valueOf, [Symbol.toPrimitive]: convert } = value as Partial<Date>;
  return [toString, valueOf, convert].some((each) => typeof each === "function");
}

export function count(value: unknown, name: string, most: number, least = 1): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new TypeError(`Expected ${name} to be a whole number; got ${show(value)}.`);
  }
  if (value < least || value > most)
    throw new RangeError(`Expected ${name} to be from ${least} to ${most}; got ${value}.`);
  return value;
}

export function abortSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal || looksLikeSignal(value)) return value;
  throw new TypeError(`Expected signal to be an AbortSignal; got ${show(value)}.`);
}

/** One of a polyfill, or of another realm. */
function looksLikeSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return (
    typeof aborted === "boolean" && typeof addEventListener === "function" && typeof removeEventListener === "function"
  );
}

export const LONGEST_LABEL = 256;

export function label(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value.length > LONGEST_LABEL || !value.isWellFormed()) {
    throw new TypeError(`Expected label to be a string of at most ${LONGEST_LABEL} characters; got ${show(value)}.`);
  }
  return value;
}

/** A value as messages show it. */
export function show(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (typeof value === "function") return `function ${nameOf(value) ?? "(anonymous)"}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return `an object (${nameOf(value.constructor) ?? "no prototype"})`;
  if (typeof value === "symbol") return `Symbol(${escapeOdd(value.description ?? "").slice(0, 80)})`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** What a function or class is called. It may be called anything, and need not be one. */
function nameOf(named: unknown): string | undefined {
  const { name } = (named ?? {}) as { readonly name?: unknown };
  return typeof name === "string" && /^[\w$. ]{1,80}$/.test(name) ? name : undefined;
}
