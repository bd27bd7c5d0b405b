/** What an operator should look at first. */
import type { JSX } from "preact";
import type { Question, Row, View } from "../view.ts";
import { hashOf } from "./place.ts";
import { counted, duration, number, visible } from "./text.ts";

export function StuckLocks({ view: { stuck, stuckCount }, place }: { view: View; place: Question }): JSX.Element {
  if (stuckCount === 0) {
    return (
      <p class="calm">
        <span class="dot" aria-hidden="true" /> Nothing is stuck.
      </p>
    );
  }
  return (
    <section class="stuck" aria-labelledby="stuck">
      <h2 id="stuck">{stuckCount === 1 ? "1 lock is stuck" : `${counted(stuckCount, "lock")} are stuck`}</h2>
      <ul>
        {stuck.map((row) => (
          <li key={row.name}>
            <a class="name" href={hashOf({ ...place, lock: row.name })}>
              <bdi>{visible(row.name)}</bdi>
            </a>
            <StuckReason row={row} />
          </li>
        ))}
      </ul>
      {stuckCount > stuck.length && (
        <p>
          <a href={hashOf({ ...place, show: "stuck", lock: null })}>Show all {stuckCount}</a>
        </p>
      )}
    </section>
  );
}

export function StuckReason({ row }: { row: Row }): JSX.Element | null {
  const { stuck, holder, holderCount, waiterCount, longestWait } = row;
  if (!stuck) return null;
  const who = holder ? visible(holder.label || holder.clientLabel || "another library") : "nobody";
  const others = holderCount > 1 ? ` and ${counted(holderCount - 1, "other")}` : "";
  const queue =
    waiterCount === 0
      ? "Nobody waits."
      : `${waiterCount === 1 ? "1 waits" : `${number(waiterCount)} wait`}, the longest for ${duration(longestWait)}.`;
  return (
    <p>
      {REASONS[stuck.reason]}{" "}
      {stuck.reason === "unclaimed" ? (
        "Nobody holds it."
      ) : (
        <>
          Held by <bdi>{who}</bdi>
          {others} for {duration(stuck.for)}
          {stuck.reason === "long-hold" && `, usually ${duration(stuck.usual)}`}.
        </>
      )}{" "}
      {queue}
    </p>
  );
}

const REASONS: Record<NonNullable<Row["stuck"]>["reason"], JSX.Element> = {
  "no-expiry": (
    <>
      <strong>Never expires.</strong> If its owner is gone, nobody releases it.
    </>
  ),
  "long-hold": <strong>Held far longer than usual.</strong>,
  "no-progress": <strong>The queue does not move.</strong>,
  unclaimed: <strong>Free, and yet others wait.</strong>,
};
