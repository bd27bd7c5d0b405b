/** A block that is longer is cut in two. */
const LONGEST_BLOCK = 512;

/**
 * Records by token, in the order of their scores, as a sorted set of Redis has its members; equal scores in the order of
 * the tokens. Whatever is asked takes a time that hardly grows with their number.
 */
export class SortedMap<V> {
  readonly #scoreOf: (value: V) => number;
  readonly #values = new Map<string, V>();
  /** All tokens in order, cut into blocks, because it is cheap to put something into a short list and to take it out. */
  readonly #blocks: string[][] = [];

  /** @param scoreOf a record's score, which must not change while it is in here */
  constructor(scoreOf: (value: V) => number) {
    this.#scoreOf = scoreOf;
  }

  get size(): number {
    return this.#values.size;
  }

  get first(): string | undefined {
    return this.#blocks[0]?.[0];
  }

  get last(): string | undefined {
    return this.#blocks.at(-1)?.at(-1);
  }

  get(token: string | undefined): V | undefined {
    return token === undefined ? undefined : this.#values.get(token);
  }

  has(token: string): boolean {
    return this.#values.has(token);
  }

  set(token: string, value: V): void {
    if (this.#values.has(token)) this.delete(token);
    this.#values.set(token, value);
    const { last } = this;
    if (last === undefined) {
      this.#blocks.push([token]);
      return;
    }
    // Most come in order.
    const at = this.#isBefore(last, token, value) ? this.#blocks.length - 1 : this.#blockOf(token, value);
    const block = this.#blocks[at] as string[];
    block.splice(this.#placeIn(block, token, value), 0, token);
    if (block.length > LONGEST_BLOCK) this.#blocks.splice(at + 1, 0, block.splice(LONGEST_BLOCK / 2));
  }

  delete(token: string): boolean {
    const value = this.#values.get(token);
    if (value === undefined) return false;
    const at = this.#blockOf(token, value);
    const block = this.#blocks[at] as string[];
    block.splice(this.#placeIn(block, token, value), 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
    return this.#values.delete(token);
  }

  /** How many come before this one, which must be in here. */
  rank(token: string): number {
    const value = this.#values.get(token) as V;
    const at = this.#blockOf(token, value);
    let before = this.#placeIn(this.#blocks[at] as string[], token, value);
    for (let i = 0; i < at; i++) before += (this.#blocks[i] as string[]).length;
    return before;
  }

  /** In order. Of what is taken out or put in meanwhile, some may be missed. */
  *[Symbol.iterator](): Generator<[string, V], void, void> {
    for (const block of this.#blocks) for (const token of block) yield [token, this.#values.get(token) as V];
  }

  /** The first block that does not end before this place. */
  #blockOf(token: string, value: V): number {
    const blocks = this.#blocks;
    return firstWhere(blocks.length, (i) => !this.#isBefore(blocks[i]?.at(-1) as string, token, value));
  }

  #placeIn(block: readonly string[], token: string, value: V): number {
    return firstWhere(block.length, (i) => !this.#isBefore(block[i] as string, token, value));
  }

  #isBefore(other: string, token: string, value: V): boolean {
    const difference = this.#scoreOf(this.#values.get(other) as V) - this.#scoreOf(value);
    return difference < 0 || (difference === 0 && other < token);
  }
}

/** The first number below `end` for which it is true, or `end`. It must be false before, and true after. */
function firstWhere(end: number, isTrue: (i: number) => boolean): number {
  let from = 0;
  while (from < end) {
    const middle = (from + end) >> 1;
    if (isTrue(middle)) end = middle;
    else from = middle + 1;
  }
  return from;
}
