/**
 * The tracing channel `holdfast:request`: from the moment a request is made until it holds the lock or has ended.
 * Monitoring programs bind their own context to its start. Without a subscriber it costs one check.
 */
import { builtin } from "./runtime.ts";

/** Undefined if the runtime has none. */
const requests = builtin("node:diagnostics_channel")?.tracingChannel("holdfast:request");

export function isTraced(): boolean {
  return requests?.hasSubscribers ?? false;
}

/**
 * Like `TracingChannel.tracePromise`, but the message has no `result`, and the last messages come before the code that
 * made the request continues.
 *
 * @param make runs in the contexts that subscribers have bound to the start
 */
export function traced<T>(message: { error: unknown }, make: () => Promise<T>): Promise<T> {
  if (!requests) return make();
  const { start, end, asyncStart, asyncEnd, error: failed } = requests;
  const outcome = start.runStores(message, make);
  end.publish(message);
  const settled = (): void => {
    asyncStart.publish(message);
    asyncEnd.publish(message);
  };
  outcome.then(settled, (error: unknown) => {
    message.error = error;
    failed.publish(message);
    settled();
  });
  return outcome;
}
