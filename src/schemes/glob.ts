/**
 * Redis' globs (`*`, `?`, `[a-z]`, `[^a]`, `\`), with the answers that Redis' own KEYS and SCAN give, odd patterns
 * included. Like Redis it compares bytes, of UTF-8 here: `?` stands for one byte.
 *
 * A pattern of m parts takes at most n · m steps for a name of n bytes: when something after a `*` does not match, only
 * the latest `*` takes one byte more (Kirk J. Krauss, "Matching Wildcards: An Empirical Way to Tame an Algorithm",
 * Dr. Dobb's, 2014).
 */
import { utf8 } from "../runtime.ts";

const STAR = "*";
/** A part that matches exactly one byte: that byte, or a set of bytes. */
type Part = typeof STAR | number | Uint8Array;

const [ASTERISK, QUESTION, BACKSLASH, OPEN, CLOSE, CARET, DASH] = utf8("*?\\[]^-");

export class Glob {
  readonly #parts: Part[] = [];

  constructor(pattern: string) {
    const bytes = utf8(pattern);
    for (let at = 0; at < bytes.length;) at = this.#read(bytes, at);
  }

  matches(name: string): boolean {
    const parts = this.#parts;
    const bytes = utf8(name);
    let part = 0;
    let at = 0;
    /** Where to continue if the part after the latest star does not match: that star takes one more byte. */
    let retry = -1;
    let retryAt = 0;
    while (at < bytes.length) {
      if (parts[part] === STAR) {
        retry = ++part;
        retryAt = at;
      } else if (stands(parts[part], bytes[at] as number)) {
        part++;
        at++;
      } else if (retry >= 0) {
        part = retry;
        at = ++retryAt;
      } else {
        return false;
      }
    }
    while (parts[part] === STAR) part++;
    return part === parts.length;
  }

  /** Reads one part, and answers where the next begins. */
  #read(bytes: Uint8Array, at: number): number {
    let byte = bytes[at] as number;
    if (byte === OPEN) return this.#readSet(bytes, at + 1);
    if (byte === ASTERISK) {
      this.#parts.push(STAR);
    } else if (byte === QUESTION) {
      this.#parts.push(new Uint8Array(256).fill(1));
    } else {
      // A backslash at the end stands for itself.
      if (byte === BACKSLASH && at + 1 < bytes.length) byte = bytes[++at] as number;
      this.#parts.push(byte);
    }
    return at + 1;
  }

  /** From behind the `[` on. A set that is not closed ends with the pattern. */
  #readSet(bytes: Uint8Array, at: number): number {
    const isNegated = bytes[at] === CARET;
    if (isNegated) at++;
    const set = new Uint8Array(256);
    for (; at < bytes.length && bytes[at] !== CLOSE; at++) {
      if (bytes[at] === BACKSLASH && at + 1 < bytes.length) {
        set[bytes[++at] as number] = 1;
      } else if (bytes[at + 1] === DASH && at + 2 < bytes.length) {
        addRange(set, bytes[at] as number, bytes[at + 2] as number);
        at += 2;
      } else {
        set[bytes[at] as number] = 1;
      }
    }
    this.#parts.push(isNegated ? set.map((each) => 1 - each) : set);
    return at + 1;
  }
}

function stands(part: Part | undefined, byte: number): boolean {
  return typeof part === "object" ? part[byte] === 1 : part === byte;
}

/**
 * In either order. As on the processors that most servers run on, bytes from 128 on are negative numbers in a range.
 */
function addRange(set: Uint8Array, from: number, to: number): void {
  const [a, b] = [(from << 24) >> 24, (to << 24) >> 24];
  for (let each = Math.min(a, b); each <= Math.max(a, b); each++) set[each & 255] = 1;
}
