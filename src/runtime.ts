/**
 * What holdfast uses of the runtime beyond the language and the web's interfaces. No module of Node is imported, so
 * that the library loads without them (workers, the edge): each is looked up, and left out if it is missing.
 *
 * Everything is read when this module is loaded, and from modules rather than globals, so fake timers, installed before
 * or after, have no effect.
 */

interface Builtins {
  readonly "node:async_hooks": typeof import("node:async_hooks");
  readonly "node:crypto": typeof import("node:crypto");
  readonly "node:diagnostics_channel": typeof import("node:diagnostics_channel");
  readonly "node:module": typeof import("node:module");
  readonly "node:net": typeof import("node:net");
  readonly "node:os": typeof import("node:os");
  readonly "node:path": typeof import("node:path");
  readonly "node:perf_hooks": typeof import("node:perf_hooks");
  readonly "node:process": typeof import("node:process");
  readonly "node:timers": typeof import("node:timers");
  readonly "node:util": typeof import("node:util");
}

/** A module of Node; undefined if the runtime does not have it. */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] | undefined {
  const { process } = globalThis as { readonly process?: Partial<NodeJS.Process> };
  try {
    return process?.getBuiltinModule?.(name);
  } catch {
    return undefined;
  }
}

const timers: Pick<typeof globalThis, "setTimeout" | "clearTimeout"> & Partial<Builtins["node:timers"]> =
  builtin("node:timers") ?? globalThis;

const setTimeout: typeof globalThis.setTimeout = timers.setTimeout;
export const clearTimeout: typeof globalThis.clearTimeout = timers.clearTimeout;
const { setImmediate, clearImmediate } = timers;
const { performance } = builtin("node:perf_hooks") ?? globalThis;
const process = builtin("node:process");

/** A timer. Keeps the process alive unless told otherwise. */
export type Timeout = ReturnType<typeof globalThis.setTimeout>;

export { setTimeout };

/** Milliseconds that never go back. */
export function monotonic(): number {
  return performance.now();
}

/** Runs after what has arrived was read. @returns a function that cancels it */
export function onNextTurn(run: () => void): () => void {
  if (setImmediate && clearImmediate) {
    const immediate = setImmediate(run);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(run, 0);
  return () => clearTimeout(timer);
}

/** Runs after all promises of this turn of the event loop, and before the next turn if the runtime allows that. */
export const afterPromises: (run: () => void) => void =
  process?.nextTick === undefined ? (run) => void setTimeout(run, 0) : (run) => process.nextTick(run);

/** Does not keep the process alive. */
export function unref(timer: Timeout): void {
  // Timers are numbers in some environments (jsdom, workers).
  (timer as Partial<NodeJS.Timeout>).unref?.();
}

/** Does not keep the process alive. */
export function sleep(time: number): Promise<void> {
  return new Promise((resolve) => unref(setTimeout(resolve, time)));
}

/** 128 random bits, in characters that URLs allow. */
export function randomId(): string {
  const bytes = (builtin("node:crypto")?.webcrypto ?? globalThis.crypto).getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** host:pid:program, or those parts that the runtime has. */
export function processName(): string {
  const host = builtin("node:os")?.hostname();
  if (process === undefined || !host) {
    const { navigator } = globalThis as { readonly navigator?: { readonly userAgent?: string } };
    return navigator?.userAgent ?? "unknown";
  }
  const program = process.argv?.[1] ?? process.title ?? "";
  return `${host}:${process.pid}:${program.slice(program.lastIndexOf("/") + 1)}`;
}

const encoder = new TextEncoder();

/** The text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** How many bytes the text has as UTF-8. */
export function byteLength(text: string): number {
  return utf8(text).length;
}
