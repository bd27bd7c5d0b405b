/** Is notified of a call's outcome: by one of the two methods, once, and never before the call has returned. */
export interface Caller<T> {
  answered(answer: T): void;
  failed(error: unknown): void;
}

/** For what nobody needs to hear of. */
export const NOBODY: Caller<unknown> = { answered: () => {}, failed: () => {} };

/** For code that answers with promises: report the outcome of one. */
export function report<T>(outcome: Promise<T>, caller: Caller<T>): void {
  outcome.then(
    (answer) => caller.answered(answer),
    (error: unknown) => caller.failed(error),
  );
}
