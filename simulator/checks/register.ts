/** What a lock guards: a number that holders increase, and the largest fence that has read or written it. */
interface Register {
  value: number;
  fence: number;
}

export type Written = "accepted" | "refused" | "overwrote";

/** One register for each lock. Each refuses a fence that is smaller than one that it has seen. */
export class Registers {
  readonly #registers = new Map<string, Register>();
  /** Writes that were accepted, and refused. */
  readonly writes: { accepted: number; refused: number } = { accepted: 0, refused: 0 };

  /** Undefined: refused, because a later holder has been there. */
  read(lock: string, fence: number): number | undefined {
    const register = this.#of(lock);
    if (fence < register.fence) return undefined;
    register.fence = fence;
    return register.value;
  }

  /** Write what follows the value that was read. `overwrote`: what another has written since is lost. */
  write(lock: string, fence: number, read: number): Written {
    const register = this.#of(lock);
    if (fence < register.fence) {
      this.writes.refused++;
      return "refused";
    }
    const isLost = register.value !== read;
    this.writes.accepted++;
    register.value = read + 1;
    register.fence = fence;
    return isLost ? "overwrote" : "accepted";
  }

  #of(lock: string): Register {
    let register = this.#registers.get(lock);
    if (!register) this.#registers.set(lock, (register = { value: 0, fence: 0 }));
    return register;
  }
}
