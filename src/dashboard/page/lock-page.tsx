/** One lock: who holds it, the queue in order, and how it was. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { HolderView, LockPast, LockView, PastHold, Question, View, WaiterView } from "../view.ts";
import { LockCharts } from "./charts.tsx";
import { Badges } from "./lock-table.tsx";
import { hashOf } from "./place.ts";
import { ReleaseDialog } from "./release-dialog.tsx";
import { isReadOnly } from "./settings.ts";
import { StuckReason } from "./stuck.tsx";
import { clockTime, counted, duration, number, visible } from "./text.ts";
import { Left, Since } from "./ticking.tsx";

const STEP = 200;
const MOST_PAST_HOLDS = 50;

export interface LockPageProps {
  readonly name: string;
  readonly view: View;
  readonly past: LockPast | null;
  readonly place: Question;
  readonly change: (change: Partial<Question>) => void;
}

export function LockPage({ name, view, past, place, change }: LockPageProps): JSX.Element {
  const { lock } = view;
  // As it was when that was asked for: the dialog outlives the lock.
  const [freeing, setFreeing] = useState<LockView | null>(null);
  return (
    <>
      <nav>
        <a href={hashOf({ ...place, lock: null })}>← All locks</a>
      </nav>
      <section aria-labelledby="name">
        <div class="heading">
          <h2 id="name" class="name">
            <bdi>{visible(name)}</bdi>
          </h2>
          {lock && <Badges row={lock} />}
          {!isReadOnly && lock?.holder && (
            <button type="button" class="danger" onClick={() => setFreeing(lock)}>
              Free by force…
            </button>
          )}
        </div>
        {lock?.stuck && (
          <div class="stuck">
            <StuckReason row={lock} />
          </div>
        )}
        {lock ? <Summary lock={lock} /> : <p class="quiet">Nobody holds this lock, and nobody waits for it.</p>}
      </section>
      {lock && lock.holders.length > 0 && <Holders lock={lock} />}
      {lock && lock.queue.length > 0 && <Queue lock={lock} showMore={() => change({ count: place.count + STEP })} />}
      {past && (past.holds.length > 0 || past.lengths.length > 0) && (
        <LockCharts past={past} now={{ time: view.point?.time ?? 0, waiting: lock?.waiterCount ?? 0 }} />
      )}
      {past && past.holds.length > 0 && <PastHolds holds={past.holds} />}
      {freeing && <ReleaseDialog lock={freeing} close={() => setFreeing(null)} />}
    </>
  );
}

function Summary({ lock: { kind, waiterCount, usualHold, holder } }: { lock: LockView }): JSX.Element {
  const queue = waiterCount === 0 ? "Nobody waits." : waiterCount === 1 ? "1 waits." : `${number(waiterCount)} wait.`;
  const usual = usualHold === null ? "" : `Usually held for up to ${duration(usualHold)}.`;
  if (kind !== "election") {
    return (
      <p class="quiet">
        {queue} {usual}
      </p>
    );
  }
  return (
    <p class="quiet">
      {holder ? (
        <>
          <bdi>{visible(holder.label || holder.clientLabel)}</bdi> leads with term {holder.fence}.
        </>
      ) : (
        "Nobody leads."
      )}{" "}
      {counted(waiterCount, "candidate")}.
    </p>
  );
}

function Who({
  label,
  clientLabel,
  token,
}: Pick<HolderView, "label" | "clientLabel"> & { token?: string | null }): JSX.Element {
  const process = clientLabel && clientLabel !== label ? clientLabel : "";
  return (
    <>
      <span class="who">
        {label ? <bdi>{visible(label)}</bdi> : token === null ? "another library" : process ? "" : "unknown"}
      </span>
      {process && (
        <span class="process">
          <bdi>{visible(process)}</bdi>
        </span>
      )}
    </>
  );
}

function wish({ mode, permits }: Pick<HolderView, "mode" | "permits">): string {
  return permits === null ? mode : counted(permits, "permit");
}

function Holders({ lock }: { lock: LockView }): JSX.Element {
  const { holders, holderCount, kind } = lock;
  return (
    <section aria-labelledby="holders">
      <h3 id="holders">
        {kind === "election" ? "Leader" : holderCount === 1 ? "Holder" : `${number(holderCount)} holders`}
      </h3>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader">Who</th>
            <th role="columnheader">Mode</th>
            <th role="columnheader">Fence</th>
            <th role="columnheader" class="number">
              Held for
            </th>
            <th role="columnheader">Time left</th>
            <th role="columnheader">Renewals seen</th>
            <th role="columnheader" class="number">
              Had waited
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {holders.map((each) => (
            <HolderRow key={each.token ?? ""} holder={each} />
          ))}
        </tbody>
      </table>
      {holderCount > holders.length && <p class="more">{number(holders.length)} of them are shown.</p>}
    </section>
  );
}

function HolderRow({ holder }: { holder: HolderView }): JSX.Element {
  const { token, fence, held, heldIsLeast, left, lease, renewals, renewed, waited, job } = holder;
  return (
    <tr role="row">
      <td role="cell" class="of-name" title={token ?? ""}>
        <Who {...holder} />
      </td>
      <td role="cell" data-term="Mode">
        {job ? `job, ${job}` : wish(holder)}
      </td>
      <td role="cell" data-term="Fence" class="fence">
        {fence ?? "–"}
      </td>
      <td role="cell" class="number" data-term="Held for">
        <Since ms={held} isLeast={heldIsLeast} />
      </td>
      <td role="cell" data-term="Time left">
        <Left ms={left} lease={lease} />
      </td>
      <td role="cell" data-term="Renewals seen">
        {renewals === 0 || renewed === null ? (
          <span class="none">none</span>
        ) : (
          <span key={renewals} class="renewed">
            {number(renewals)}, last <Since ms={renewed} /> ago
          </span>
        )}
      </td>
      <td role="cell" class="number" data-term="Had waited">
        {waited === null ? <span class="none">–</span> : duration(waited)}
      </td>
    </tr>
  );
}

function Queue({
  lock: { queue, waiterCount, kind },
  showMore,
}: {
  lock: LockView;
  showMore: () => void;
}): JSX.Element {
  return (
    <section aria-labelledby="queue">
      <h3 id="queue">{kind === "election" ? "Candidates, in order" : "Queue, in order"}</h3>
      <table role="table" class="queue">
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" class="number">
              #
            </th>
            <th role="columnheader">Who</th>
            <th role="columnheader">Wants</th>
            <th role="columnheader" class="number">
              Has waited
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {queue.map((each, i) => (
            <WaiterRow key={i} waiter={each} place={i + 1} />
          ))}
        </tbody>
      </table>
      {waiterCount > queue.length && (
        <p class="more">
          The first {number(queue.length)} of {number(waiterCount)} are shown.{" "}
          <button type="button" onClick={showMore}>
            Show more
          </button>
        </p>
      )}
    </section>
  );
}

function WaiterRow({ waiter, place }: { waiter: WaiterView; place: number }): JSX.Element {
  return (
    <tr role="row">
      <td role="cell" class="number place">
        {number(place)}
      </td>
      <td role="cell" class="of-name">
        <Who {...waiter} />
      </td>
      <td role="cell" data-term="Wants">
        {wish(waiter)}
      </td>
      <td role="cell" class="number" data-term="Has waited">
        {waiter.waited === null ? <span class="none">–</span> : <Since ms={waiter.waited} />}
      </td>
    </tr>
  );
}

function PastHolds({ holds }: { holds: readonly PastHold[] }): JSX.Element {
  return (
    <section aria-labelledby="past">
      <h3 id="past">Earlier holders, latest first</h3>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader">Who</th>
            <th role="columnheader">Granted at</th>
            <th role="columnheader">Fence</th>
            <th role="columnheader" class="number">
              Held for about
            </th>
            <th role="columnheader" class="number">
              Had waited
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {holds
            .slice(-MOST_PAST_HOLDS)
            .toReversed()
            .map((each) => (
              <tr role="row" key={`${each.time} ${each.fence}`}>
                <td role="cell" class="of-name">
                  <Who {...each} />
                </td>
                <td role="cell" data-term="Granted at">
                  {clockTime(each.time)}
                </td>
                <td role="cell" data-term="Fence" class="fence">
                  {each.fence ?? "–"}
                </td>
                <td role="cell" class="number" data-term="Held for about">
                  {duration(each.held)}
                </td>
                <td role="cell" class="number" data-term="Had waited">
                  {each.waited === undefined ? <span class="none">–</span> : duration(each.waited)}
                </td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}
