/** Compares a key's value and acts on it in one atomic step, without scripts: what all ways to do it share. */
import slotOf from "cluster-key-slot";
import type { Driver } from "../../drivers/driver.ts";
import type { Proof } from "../../drivers/proof.ts";
import type { Durability } from "../../durability.ts";

/** True if the value was equal and it is done; if durability was required, what was reached. */
export type Compared = boolean | Durability;

/** One call of these, on its way. */
export interface Comparison {
  readonly act: "delete" | "extend" | "replace";
  readonly key: string;
  readonly value: string;
  /** What the key holds afterwards. */
  readonly next: string;
  readonly ttl: number;
  readonly proof: Proof | undefined;
  resolve(compared: Compared): void;
  reject(error: unknown): void;
}

export abstract class Compare {
  /** Delete the key if it holds exactly this value. */
  delete(key: string, value: string): Promise<boolean> {
    return this.#call("delete", key, value, "", 0, undefined) as Promise<boolean>;
  }

  /** Let the key live at least ttl milliseconds from now, if it holds exactly this value. Never shortens. */
  extend(key: string, value: string, ttl: number, proof?: Proof): Promise<Compared> {
    return this.#call("extend", key, value, value, ttl, proof);
  }

  /** Put the next value in its place, for exactly ttl milliseconds from now, if the key holds exactly this value. */
  replace(key: string, value: string, next: string, ttl: number, proof?: Proof): Promise<Compared> {
    return this.#call("replace", key, value, next, ttl, proof);
  }

  /** A lock is held: get ready for its renewal and its release, which a short lease leaves little time for. */
  abstract prepare(key: string): void;

  abstract close(): void;

  protected abstract add(comparison: Comparison): void;

  #call(
    act: Comparison["act"],
    key: string,
    value: string,
    next: string,
    ttl: number,
    proof: Proof | undefined,
  ): Promise<Compared> {
    return new Promise((resolve, reject) => this.add({ act, key, value, next, ttl, proof, resolve, reject }));
  }
}

/** Keys that may share a batch: those of one slot, in a Cluster. */
export function groupOf(driver: Driver, key: string): string {
  return driver.isCluster ? String(slotOf(key)) : "";
}

/**
 * What a batch finds in a key is what all that came before have left there. So it has two items for one key only if at
 * most one of them can find its value there, now or once the other is done: the releases of several who have given up
 * beside the renewal of who holds. A batch is proven as a whole.
 */
export function mayJoin(batch: readonly Comparison[], item: Comparison): boolean {
  return batch[0]?.proof === item.proof && mayPass(batch, item);
}

/** In which order they are done makes no difference. */
export function mayPass(others: readonly Comparison[], { key, value, next }: Comparison): boolean {
  return others.every(
    (each) => each.key !== key || (each.value !== value && each.next !== value && each.value !== next),
  );
}
