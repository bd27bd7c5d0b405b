import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Question, Show, Sort, View } from "../view.ts";
import { OverviewCharts } from "./charts.tsx";
import { LockTable } from "./lock-table.tsx";
import { StuckLocks } from "./stuck.tsx";
import { number, duration } from "./text.ts";

const SHOWN: readonly [Show, string][] = [
  ["all", "All"],
  ["contended", "Contended"],
  ["stuck", "Stuck"],
  ["semaphores", "Semaphores"],
  ["elections", "Elections"],
  ["jobs", "Jobs"],
  ["foreign", "Foreign"],
];
const SORTED: readonly [Sort, string][] = [
  ["attention", "needs attention"],
  ["name", "name"],
  ["waiters", "most waiters"],
  ["wait", "longest wait"],
  ["held", "held longest"],
  ["left", "expires first"],
];
const STEP = 200;

export interface OverviewProps {
  readonly view: View;
  readonly place: Question;
  readonly change: (change: Partial<Question>) => void;
  readonly isConnected: boolean;
}

export function Overview({ view, place, change, isConnected }: OverviewProps): JSX.Element {
  const { rows, matching } = view;
  return (
    <>
      <StuckLocks view={view} place={place} />
      <Totals view={view} />
      <OverviewCharts newest={view.point} isConnected={isConnected} />
      <section aria-labelledby="all-locks">
        <h2 id="all-locks">Locks</h2>
        <Toolbar view={view} place={place} change={change} />
        {rows.length > 0 ? <LockTable rows={rows} place={place} /> : <p class="quiet">{whyNone(view, place)}</p>}
        {matching > rows.length && (
          <p class="more">
            {number(rows.length)} of {number(matching)} shown.{" "}
            <button type="button" onClick={() => change({ count: place.count + STEP })}>
              Show more
            </button>
          </p>
        )}
      </section>
    </>
  );
}

function whyNone({ totals }: View, { search }: Question): string {
  if (totals.locks === 0) return "Nobody holds a lock, and nobody waits for one.";
  return search ? `Nothing matches “${search}”.` : "There are none of this kind.";
}

function Totals({ view: { totals, stuckCount } }: { view: View }): JSX.Element {
  const { locks, holders, waiters, contended, longestWait } = totals;
  return (
    <dl class="totals">
      <Total term="Locks" value={number(locks)} />
      <Total term="Holders" value={number(holders)} />
      <Total term="Waiting" value={number(waiters)} />
      <Total term="Contended locks" value={number(contended)} />
      <Total term="Longest wait" value={waiters > 0 ? duration(longestWait) : "–"} />
      <Total term="Stuck" value={number(stuckCount)} isBad={stuckCount > 0} />
    </dl>
  );
}

function Total({ term, value, isBad = false }: { term: string; value: string; isBad?: boolean }): JSX.Element {
  return (
    <div class={isBad ? "bad" : ""}>
      <dt>{term}</dt>
      <dd>{value}</dd>
    </div>
  );
}

const PAUSE = 150;

function Toolbar({ view, place, change }: Omit<OverviewProps, "isConnected">): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState(place.search);
  useEffect(() => {
    if (typed === place.search) return undefined;
    const timer = setTimeout(() => change({ search: typed, count: 0 }), PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    const focus = (event: KeyboardEvent): void => {
      if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  return (
    <form class="toolbar" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="search">
        <span class="visually-hidden">Search names, labels, fences and tokens</span>
        <input
          ref={field}
          type="search"
          placeholder="Search names, labels, fences   /"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
      <fieldset class="chips">
        <legend class="visually-hidden">Show</legend>
        {SHOWN.map(([value, text]) => (
          <label key={value}>
            <input
              type="radio"
              name="show"
              checked={place.show === value}
              onChange={() => change({ show: value, count: 0 })}
            />
            <span>
              {text} <small>{number(countOf(view, value))}</small>
            </span>
          </label>
        ))}
      </fieldset>
      <label class="sort">
        Sort by{" "}
        <select value={place.sort} onChange={(event) => change({ sort: event.currentTarget.value as Sort })}>
          {SORTED.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
    </form>
  );
}

function countOf({ totals, stuckCount }: View, show: Show): number {
  if (show === "all") return totals.locks;
  return show === "stuck" ? stuckCount : totals[show];
}
