/**
 * The only place where names become keys, and keys names.
 *
 * A lock's own key is its prefix and name as they stand, so that any library that does `SET key value NX PX` shares
 * it. Only what could not be told apart otherwise is escaped, with U+FFFF (no character, and no part of sane names):
 * lone surrogates, which UTF-8 cannot carry; U+FFFF itself; a name that ends like a key of ours; and braces, where
 * they would send the keys of one lock to different slots of a Cluster, or mix up `{x}` and `x`.
 */

/** The keys of one lock, in the order in which scripts take them. */
export type LockKeys = [key: string, holders: string, queue: string, waiters: string];

const ESCAPE = "\uffff";
const SIBLING = /:(holders|fence|queue|waiters|node)$/;
/** Values that are shared lie beside their lock. Only in a slot chosen by a hash tag could a lock's own key look so. */
const VALUE = ":shared-value";
const CLIENT = /^client:[\w-]{22}$/;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const HASH_TAG = /^[^{]*\{[^}]+\}/;
/** A key between braces. The other keys of a lock without a hash tag begin so: no lock's own key may look like it. */
const WRAPPED = /^\{([^}]+)\}$/;

function escaped(character: string): string {
  return ESCAPE + character.charCodeAt(0).toString(16).padStart(4, "0");
}

/** The key of a lock: readable, and different for different names. */
export function lockKey(prefix: string, name: string): string {
  let encoded = name.replaceAll(ESCAPE, escaped(ESCAPE));
  if (!encoded.isWellFormed()) encoded = encoded.replace(LONE_SURROGATE, escaped);
  const plain = prefix + encoded;
  if (encoded.includes("}") && (!HASH_TAG.test(plain) || WRAPPED.test(plain)))
    encoded = encoded.replaceAll("}", escaped("}"));
  const full = prefix + encoded;
  // The last, because the counter of `a{b}:set` would be the second counter of `a{b}`.
  if (
    SIBLING.test(full) ||
    CLIENT.test(encoded) ||
    isValueKey(full) ||
    (encoded.includes("}") && full.endsWith(":set"))
  )
    encoded = encoded.slice(0, -1) + escaped(encoded.slice(-1));
  // A key without a single character would leave its siblings without a hash tag.
  return prefix + encoded || ESCAPE;
}

function isValueKey(key: string): boolean {
  return key.endsWith(VALUE) && key.includes("}");
}

/** What all keys of the lock have in common; it makes them share a slot. */
function base(key: string): string {
  return key.includes("}") && HASH_TAG.test(key) ? key : `{${key}}`;
}

/** A name that may need more than to be written behind its prefix. */
const ODD = /[\uffff\ud800-\udfff{}]|(holders|fence|queue|waiters|node|shared-value)$|^client:|^$/;

export function lockKeys(prefix: string, name: string): LockKeys {
  const key = ODD.test(name) ? lockKey(prefix, name) : prefix + name;
  const shared = base(key);
  return [key, `${shared}:holders`, `${shared}:queue`, `${shared}:waiters`];
}

/** Where the value is kept that a holder shares with those who wait. */
export function valueKey(prefix: string, name: string): string {
  return `${base(lockKey(prefix, name))}${VALUE}`;
}

/**
 * What the locks of one slot have in common, so that one call can work on several: where their fences are counted, and
 * what the channels of their managers begin with.
 */
export interface Home {
  readonly counter: string;
  /** Where the scheme `set` counts as well. */
  readonly setCounter: string;
  readonly channel: string;
  /** The only lock at home here; undefined if all locks of the prefix are. */
  readonly lock: string | undefined;
}

/** The keys of one lock of the redlock scheme, the same on every node, in the order in which scripts take them. */
export type NodeKeys = [key: string, counter: string, queue: string, holders: string, waiters: string];

export function nodeKeys(prefix: string, name: string): NodeKeys {
  const [key, holders, queue, waiters] = lockKeys(prefix, name);
  return [key, `${base(key)}:fence`, queue, holders, waiters];
}

/** What a node of the redlock scheme remembers beside its locks. No lock's key ends like it. */
export function nodeKey(prefix: string): string {
  return `${prefix}:node`;
}

/** What a node notes of another that does not remember. No lock's key ends like it. */
export function noteKey(prefix: string, absence: string): string {
  return `${prefix}:${absence}:node`;
}

/** How many locks' keys are remembered, because naming them again costs more than looking them up. */
const MEMORY = 10_000;

/** The keys of the locks under one prefix. */
export class Keys<K> {
  readonly #prefix: string;
  readonly #name: (prefix: string, lock: string) => K;
  readonly #known = new Map<string, K>();

  constructor(prefix: string, name: (prefix: string, lock: string) => K) {
    this.#prefix = prefix;
    this.#name = name;
  }

  of(lock: string): K {
    let keys = this.#known.get(lock);
    if (!keys) {
      if (this.#known.size >= MEMORY) this.#known.clear();
      keys = this.#name(this.#prefix, lock);
      this.#known.set(lock, keys);
    }
    return keys;
  }

  /** For what happens so rarely to one lock that remembering its keys would only displace others. */
  once(lock: string): K {
    return this.#known.get(lock) ?? this.#name(this.#prefix, lock);
  }
}

/** Where the locks under one prefix are at home. */
export class Homes {
  readonly #prefix: string;
  /** The home of all locks; undefined if each has its own. */
  readonly #common: Home | undefined;
  readonly #homes = new Map<string, Home>();

  /** @param isCluster whether only keys of one slot may share a call */
  constructor(prefix: string, isCluster: boolean) {
    this.#prefix = prefix;
    // A hash tag in the prefix sends all its keys to one slot.
    if (isCluster && !HASH_TAG.test(prefix)) return;
    const setCounter = `${prefix}:set:fence`;
    this.#common = { counter: counterKey(prefix), setCounter, channel: channelPrefix(prefix), lock: undefined };
  }

  /** The same object whenever it is the same home. */
  of(lock: string): Home {
    if (this.#common) return this.#common;
    let home = this.#homes.get(lock);
    if (!home) {
      if (this.#homes.size >= MEMORY) this.#homes.clear();
      const shared = base(lockKey(this.#prefix, lock));
      const setCounter = `${shared}:set:fence`;
      home = { counter: `${shared}:fence`, setCounter, channel: `${shared}:push:`, lock };
      this.#homes.set(lock, home);
    }
    return home;
  }
}

/**
 * The name of the lock that a key on a server belongs to, or undefined if the key says nothing about a holder
 * or a waiter (a lock's own key, its queue).
 */
export function nameOfKey(prefix: string, found: string): string | undefined {
  let key = found;
  const sibling = SIBLING.exec(found);
  if (sibling) {
    if (sibling[1] !== "queue") return undefined;
    const shared = found.slice(0, sibling.index);
    const inner = WRAPPED.exec(shared)?.[1];
    key = inner?.startsWith(prefix) ? inner : shared;
  }
  if (key === ESCAPE && prefix === "") return "";
  if (isValueKey(found) || !key.startsWith(prefix) || CLIENT.test(key.slice(prefix.length))) return undefined;
  return key
    .slice(prefix.length)
    .replace(/\uffff([0-9a-f]{4})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** The fence counter of all locks under the prefix. No lock's key ends like it. */
export function counterKey(prefix: string): string {
  return `${prefix}:fence`;
}

/** Where the fence of the last guarded write of a key is kept: in the key's slot. */
export function guardKey(key: string): string {
  return `${base(key)}:guard`;
}

/** Where the drop-ins publish releases of a key: in the key's slot. */
export function freedChannel(key: string): string {
  return `${base(key)}:freed`;
}

/** Where the drop-in for redis-semaphore keeps when the holders of a semaphore end: in the semaphore's slot. */
export function endsKey(key: string): string {
  return `${base(key)}:ends`;
}

/** Where a manager's label is kept while it holds or waits. Its random part keeps it apart from any lock. */
export function clientKey(prefix: string, clientId: string): string {
  return `${prefix}client:${clientId}`;
}

/** What the channels of pushes begin with; a manager's id follows. */
export function channelPrefix(prefix: string): string {
  return `${prefix}push:`;
}

/** A glob that matches every key of the prefix, of locks and of their queues, and perhaps others. */
export function scanPattern(prefix: string): string {
  return `*${prefix.replace(/[\\*?[\]]/g, "\\$&")}*`;
}
