/** A viewer's server-sent events: a view after each look. */
import type { Observer } from "../observation/observer.ts";
import { onAbort } from "../signals.ts";
import type { LockPast, Question } from "./view.ts";
import type { Views } from "./views.ts";

/**
 * A viewer that reads too slowly misses views, and gets the newest one when it has caught up. The stream ends with the
 * observer, and leaves nothing behind when the viewer goes.
 *
 * @param ended called once, when the stream is over
 */
export function streamOf(
  observer: Observer,
  views: Views,
  question: Question,
  signal: AbortSignal,
  ended: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let [stop, isOver] = [(): void => {}, false];
  let past: LockPast | undefined;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    stop();
    ended();
  };
  const pastIfNew = (): LockPast | null => {
    if (question.lock === null) return null;
    const { pastHolds, queueLengths } = observer.history;
    const [holds, lengths] = [pastHolds.of(question.lock), queueLengths.of(question.lock)];
    const isSame = past && past.holds.at(-1) === holds.at(-1) && past.lengths.at(-1) === lengths.at(-1);
    if (isSame) return null;
    return (past = { holds: [...holds], lengths: [...lengths] });
  };
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (): void => {
        if (observer.isClosed) {
          end();
          controller.close();
        } else if ((controller.desiredSize ?? 0) > 0) {
          const view = { ...views.of(question), past: pastIfNew() };
          controller.enqueue(encoder.encode(`data: ${JSON.stringify(view)}\n\n`));
        }
      };
      const stopWatching = observer.watch(send);
      const stopListening = onAbort(signal, () => {
        if (isOver) return;
        end();
        controller.close();
      });
      stop = () => {
        stopWatching();
        stopListening();
      };
      if (observer.latest || observer.failure) send();
    },
    cancel: end,
  });
}
