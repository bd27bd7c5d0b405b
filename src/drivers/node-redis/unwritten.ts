import { USUAL_OPTIONS } from "./library.ts";

/**
 * Counts the commands that node-redis has not written yet. It writes 16 KB at a time, and keeps the rest until the
 * system has taken these. It does not report this, but it releases a command's signal when it writes the command.
 */
export class Unwritten {
  count = 0;
  /** The command options that keep this count. */
  readonly options: typeof USUAL_OPTIONS & { readonly abortSignal: AbortSignal };

  constructor() {
    const signal = {
      aborted: false,
      addEventListener: () => this.count++,
      removeEventListener: () => this.count--,
    };
    this.options = { ...USUAL_OPTIONS, abortSignal: signal as unknown as AbortSignal };
  }
}
