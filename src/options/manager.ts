import { processName } from "../runtime.ts";
import type { SchemeName } from "../schemes/scheme.ts";
import { count, dictionary, duration, flag, label, oneOf, onlyAmong, SHORTEST_TTL, show } from "./checks.ts";
import { checkDurability, wishFor } from "./durability.ts";
import type { CheckedDurability, DurabilityOptions } from "./durability.ts";

/** Settings of a {@link LockManager}. Durations are in milliseconds. */
export interface ManagerOptions {
  /** Prefix for every key (default `"lock:"`). Use `""` to share keys with other libraries. */
  prefix?: string | undefined;
  /** How long a grant lasts without renewal (default 30 000, at least 50). */
  ttl?: number | undefined;
  /**
   * With one client: `lua` (the default), or `set` for servers and accounts without scripting. With an array of
   * clients: only `redlock`.
   */
  scheme?: "lua" | "set" | "redlock" | undefined;
  /** A name for this process that people recognize (default `host:pid:program`). */
  label?: string | undefined;
  /**
   * Scheme `redlock`: how long one server may take to vote (default: a twentieth of the ttl, but at least 100 or a
   * quarter of it, whichever is less; at most 5 000). More than a quarter of a ttl is never waited for.
   */
  nodeTimeout?: number | undefined;
  /**
   * Scheme `redlock`: leave a server that was restarted out of the votes until every lease that it may have forgotten
   * is over (default true). Otherwise it would help to grant a lock twice. A server that still has its data, with
   * `appendonly yes` and `appendfsync always`, counts at once. Until a restarted server counts again, the others must
   * carry every vote: of three servers, no other may fail. Give all managers the same ttl, because a manager that
   * cannot ask enough of the other servers waits for the largest ttl that it has used itself.
   */
  delayRestarted?: boolean | undefined;
  /**
   * How many waiters of this process may hold a lock one after another before another process has its turn (default
   * 16). They share one place in the queue, which makes contention within a process cheap. With 1, each waiter has its
   * own place: strict order over all processes. The schemes `lua` and `redlock` have turns.
   */
  turn?: number | undefined;
  /**
   * Report a grant, and rely on a renewal, only once that many replicas or the disk have stored it (default: once the
   * server has it in memory). If they do not in time, the grant is released and the request rejects with
   * `DurabilityError`. Use a separate client: while replicas are away, everything sent over it waits. Schemes `lua` and
   * `set`. Each request then has its own place in the queue, whatever `turn`.
   */
  durability?: DurabilityOptions | undefined;
  /**
   * Follow the callbacks of `request`, `once`, `share` and semaphores through everything asynchronous, so that `holds`
   * and `assertHeld` can answer (default false). Uses AsyncLocalStorage, which makes promises a little slower.
   */
  trackContext?: boolean | undefined;
  /**
   * Report a request that waits without limit for the callback that it is made in, on the channel `holdfast:trouble`,
   * with the code `deadlock` (default false; true in `holdfast/testing`). Includes `trackContext`.
   */
  detectDeadlocks?: boolean | undefined;
}

const LONGEST_TURN = 1_000;

/** Options with every default filled in. */
export interface CheckedManagerOptions {
  readonly prefix: string;
  readonly ttl: number;
  readonly scheme: SchemeName | undefined;
  readonly label: string;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean | undefined;
  readonly turn: number;
  readonly durability: CheckedDurability | undefined;
  readonly trackContext: boolean;
  readonly detectDeadlocks: boolean;
}

const MANAGER_OPTIONS = new Set([
  "prefix",
  "ttl",
  "scheme",
  "label",
  "turn",
  "nodeTimeout",
  "delayRestarted",
  "durability",
  "trackContext",
  "detectDeadlocks",
]);

/** @throws TypeError for a value of the wrong kind, RangeError for one out of bounds. */
export function checkManagerOptions(options: unknown): CheckedManagerOptions {
  const given = dictionary(options, "options");
  onlyAmong(given, MANAGER_OPTIONS);
  const prefix = given["prefix"] ?? "lock:";
  if (typeof prefix !== "string" || prefix.length > 256) {
    throw new TypeError(`Expected prefix to be a string of at most 256 characters; got ${show(prefix)}.`);
  }
  if (!prefix.isWellFormed() || /[{}]/.test(prefix.replace(/^[^{}]*\{[^{}]+\}[^{}]*$/, ""))) {
    throw new TypeError(`Expected prefix to hold no brace, or one hash tag such as "{app}:"; got ${show(prefix)}.`);
  }
  if (/:(holders|fence|queue|waiters|shared-value)$/.test(prefix)) {
    throw new TypeError(`Expected prefix not to end like a key of holdfast's own; got ${show(prefix)}.`);
  }
  const ttl = duration(given["ttl"], "ttl", SHORTEST_TTL) ?? 30_000;
  const durability = checkDurability(given["durability"]);
  if (durability === null) {
    throw new TypeError("Expected durability to be null only for a request, in place of the manager's; got null.");
  }
  wishFor(durability, ttl);
  const trackContext = flag(given["trackContext"], "trackContext");
  const detectDeadlocks = flag(given["detectDeadlocks"], "detectDeadlocks") ?? false;
  if (detectDeadlocks && trackContext === false) {
    throw new TypeError("Expected trackContext not to be false with detectDeadlocks, which needs it. Leave it out.");
  }
  return {
    prefix,
    ttl,
    durability,
    scheme: oneOf(given["scheme"], "scheme", ["memory", "set", "lua", "redlock"]),
    label: label(given["label"]) ?? defaultLabel(),
    nodeTimeout: duration(given["nodeTimeout"], "nodeTimeout", 1),
    delayRestarted: flag(given["delayRestarted"], "delayRestarted"),
    trackContext: trackContext ?? detectDeadlocks,
    detectDeadlocks,
    turn: count(given["turn"], "turn", LONGEST_TURN) ?? 16,
  };
}

function defaultLabel(): string {
  return processName().slice(0, 256).toWellFormed();
}

/** @throws TypeError where an option was given that only the scheme redlock knows */
export function refuseNodeOptions({ nodeTimeout, delayRestarted }: CheckedManagerOptions): void {
  if (nodeTimeout === undefined && delayRestarted === undefined) return;
  const option = nodeTimeout === undefined ? "delayRestarted" : "nodeTimeout";
  throw new TypeError(`Expected ${option} only with an array of clients, for the scheme "redlock"; got no array.`);
}
