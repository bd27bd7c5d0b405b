import type { Attributes, UpDownCounter } from "@opentelemetry/api";

/** An up-down counter that knows what was added, so that it never counts down what began before it. */
export class Tally {
  readonly #counter: UpDownCounter;
  readonly #counts = new Map<string, { readonly attributes: Attributes; count: number }>();

  constructor(counter: UpDownCounter) {
    this.#counter = counter;
  }

  add(attributes: Attributes): void {
    const key = JSON.stringify(attributes);
    const alike = this.#counts.get(key);
    if (alike) alike.count++;
    else this.#counts.set(key, { attributes, count: 1 });
    this.#counter.add(1, attributes);
  }

  remove(attributes: Attributes): void {
    const key = JSON.stringify(attributes);
    const alike = this.#counts.get(key);
    if (!alike) return;
    if (--alike.count === 0) this.#counts.delete(key);
    this.#counter.add(-1, attributes);
  }

  clear(): void {
    for (const { attributes, count } of this.#counts.values()) this.#counter.add(-count, attributes);
    this.#counts.clear();
  }
}
