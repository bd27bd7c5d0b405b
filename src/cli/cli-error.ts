/** A failure of the command line itself: an exit code, and one sentence for a person. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  /** An outcome that its caller asked for or brought about, such as a lock that is not free: --quiet does not print it. */
  readonly expected: boolean;

  constructor(exitCode: number, message: string, options: ErrorOptions & { readonly expected?: boolean } = {}) {
    super(message, options);
    this.exitCode = exitCode;
    this.expected = options.expected ?? false;
  }
}
