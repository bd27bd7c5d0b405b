/** Who hears how a call came out: one of the two, once, and never before the call has returned. */
export interface Caller<T> {
  answered(answer: T): void;
  failed(error: unknown): void;
}

/** For what answers with promises: report how one came out. */
export function report<T>(outcome: Promise<T>, caller: Caller<T>): void {
  outcome.then(
    (answer) => caller.answered(answer),
    (error: unknown) => caller.failed(error),
  );
}
