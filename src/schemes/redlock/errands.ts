/**
 * What is on its way to one node, token by token. A key must be taken away after every question that may still put it
 * there, also after everybody gave up; and before a new question for the same token is asked.
 */

export interface Errand {
  /** Questions that have not been answered. */
  asked: number;
  /** Drops that have not been answered, or are still to be sent. */
  drops: number;
  /** Drop again, when all that was asked has been answered. */
  again: (() => void)[] | undefined;
  /** Questions to be asked when all drops have been answered. */
  later: (() => void)[] | undefined;
}

export class Errands {
  readonly #errands = new Map<string, Errand>();
  #drops = 0;
  #whenDropped: (() => void) | undefined;

  of(token: string): Errand {
    let errand = this.#errands.get(token);
    if (!errand) this.#errands.set(token, (errand = { asked: 0, drops: 0, again: undefined, later: undefined }));
    return errand;
  }

  /** An answer to a question has come, or never will. */
  answered(token: string, errand: Errand): void {
    if (--errand.asked > 0) return;
    const { again } = errand;
    errand.again = undefined;
    if (again) for (const drop of again) drop();
    else this.tidy(token, errand);
  }

  /** Drop now; and again, if by then something may have put the key back. */
  drop(errand: Errand, now: () => void, again: () => void): void {
    this.#expectDrop(errand);
    if (errand.asked > 0) {
      this.#expectDrop(errand);
      (errand.again ??= []).push(again);
    }
    now();
  }

  dropped(token: string, errand: Errand): void {
    if (--this.#drops === 0) this.#whenDropped?.();
    if (--errand.drops > 0) return;
    const { later } = errand;
    errand.later = undefined;
    if (later) for (const ask of later) ask();
    this.tidy(token, errand);
  }

  /** Resolves when nothing is to be dropped. */
  allDropped(): Promise<void> {
    if (this.#drops === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#whenDropped = resolve));
  }

  /** Forget an errand that is done, unless the token has a new one. */
  tidy(token: string, errand: Errand): void {
    const isDone = errand.asked === 0 && errand.drops === 0 && !errand.later;
    if (isDone && this.#errands.get(token) === errand) this.#errands.delete(token);
  }

  #expectDrop(errand: Errand): void {
    errand.drops++;
    this.#drops++;
  }
}
