import type { Observation } from "../../observation/observation.ts";

/** Looks that count. */
const LOOKS = 10;

/** How many new holders were seen in each second. Those that came and went between two looks are not among them. */
export class Rate {
  #holders = new Set<string>();
  readonly #looks: { readonly at: number; readonly count: number }[] = [];

  add({ at, locks }: Observation): void {
    const holders = new Set<string>();
    for (const [name, lock] of locks) for (const { key } of lock.holders) holders.add(`${key} ${name}`);
    let count = 0;
    for (const each of holders) if (!this.#holders.has(each)) count++;
    this.#holders = holders;
    this.#looks.push({ at, count });
    if (this.#looks.length > LOOKS) this.#looks.shift();
  }

  /** Undefined until there were two looks: the first one finds what was there before. */
  get perSecond(): number | undefined {
    const [first, ...rest] = this.#looks;
    const last = rest.at(-1);
    if (!first || !last) return undefined;
    return rest.reduce((sum, { count }) => sum + count, 0) / Math.max(0.001, (last.at - first.at) / 1_000);
  }
}
