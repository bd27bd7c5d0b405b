/** Many locks. On a phone each row is a card; the roles keep it a table for screen readers. */
import type { JSX } from "preact";
import type { Question, Row } from "../view.ts";
import { hashOf } from "./place.ts";
import { counted, number, visible } from "./text.ts";
import { Left, Since } from "./ticking.tsx";

export function LockTable({ rows, place }: { rows: readonly Row[]; place: Question }): JSX.Element {
  return (
    <table class="locks" role="table">
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader">Lock</th>
          <th role="columnheader">Held by</th>
          <th role="columnheader" class="number">
            Held for
          </th>
          <th role="columnheader">Time left</th>
          <th role="columnheader" class="number">
            Waiting
          </th>
          <th role="columnheader" class="number">
            Longest wait
          </th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <LockRow key={row.name} row={row} place={place} />
        ))}
      </tbody>
    </table>
  );
}

function LockRow({ row, place }: { row: Row; place: Question }): JSX.Element {
  const { name, holder, waiterCount, longestWait } = row;
  return (
    <tr role="row" class={row.stuck ? "is-stuck" : ""}>
      <td role="cell" class="of-name">
        <a class="name" href={hashOf({ ...place, lock: name })}>
          <bdi>{visible(name)}</bdi>
        </a>
        <Badges row={row} />
      </td>
      <td role="cell" data-term="Held by">
        <Holders row={row} />
      </td>
      <td role="cell" class="number" data-term="Held for">
        {holder ? <Since ms={holder.held} isLeast={holder.heldIsLeast} /> : "–"}
      </td>
      <td role="cell" data-term="Time left">
        {holder ? <Left ms={holder.left} lease={holder.lease} /> : "–"}
      </td>
      <td role="cell" class="number" data-term="Waiting">
        {waiterCount === 0 ? <span class="none">0</span> : number(waiterCount)}
      </td>
      <td role="cell" class="number" data-term="Longest wait">
        {waiterCount === 0 ? <span class="none">–</span> : <Since ms={longestWait} />}
      </td>
    </tr>
  );
}

export function Badges({ row: { kind, mode, limit, used, isForeign, stuck, holder } }: { row: Row }): JSX.Element {
  return (
    <span class="badges">
      {stuck && <span class="badge bad">stuck</span>}
      {kind === "election" && <span class="badge">election</span>}
      {kind === "job" && <span class="badge">job {holder?.job}</span>}
      {isForeign && <span class="badge warn">foreign key</span>}
      {kind === "lock" && mode === "shared" && <span class="badge">shared</span>}
      {limit !== null && <Permits used={used} limit={limit} />}
    </span>
  );
}

export function Permits({ used, limit }: { used: number; limit: number }): JSX.Element {
  return (
    <span class="permits">
      <span class="bar" aria-hidden="true">
        <span style={{ width: `${Math.min(100, (100 * used) / limit).toFixed(1)}%` }} />
      </span>
      {number(used)} of {number(limit)} permits
    </span>
  );
}

function Holders({ row: { holder, holderCount } }: { row: Row }): JSX.Element {
  if (!holder) return <span class="none">nobody</span>;
  const who = holder.label || holder.clientLabel;
  return (
    <>
      <span class="who" title={who}>
        {who ? <bdi>{visible(who)}</bdi> : holder.token === null ? "another library" : "unknown"}
      </span>
      {holderCount > 1 && <span class="none"> and {counted(holderCount - 1, "other")}</span>}
    </>
  );
}
