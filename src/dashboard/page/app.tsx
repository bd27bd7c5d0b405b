import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { useFeed } from "./feed.ts";
import type { Feed } from "./feed.ts";
import { LockPage } from "./lock-page.tsx";
import { Overview } from "./overview.tsx";
import { hashOf, usePlace } from "./place.ts";
import { isReadOnly, title } from "./settings.ts";
import { clockTime, counted, duration, visible } from "./text.ts";
import { LookedAt, useAge } from "./ticking.tsx";

export function App(): JSX.Element {
  const [place, change] = usePlace();
  const feed = useFeed(place);
  const { view, past, at } = feed;
  const { lock } = place;
  useEffect(() => {
    const stuck = view?.stuckCount ? `(${view.stuckCount}) ` : "";
    document.title = stuck + (lock === null ? title : `${visible(lock)} – ${title}`);
  }, [lock, view?.stuckCount]);
  useEffect(() => scrollTo(0, 0), [lock]);
  return (
    <LookedAt.Provider value={at}>
      <header>
        <h1>{lock === null ? title : <a href={hashOf({ ...place, lock: null })}>{title}</a>}</h1>
        <Connection feed={feed} />
      </header>
      <main>
        <p class="visually-hidden" role="status">
          {view && `${counted(view.stuckCount, "lock")} stuck`}
        </p>
        {!view ? (
          <p class="quiet">Looking at the server…</p>
        ) : lock === null ? (
          <Overview view={view} place={place} change={change} isConnected={feed.isConnected} />
        ) : (
          <LockPage key={lock} name={lock} view={view} past={past} place={place} change={change} />
        )}
      </main>
    </LookedAt.Provider>
  );
}

/** Whether what is shown is true now. */
function Connection({ feed: { view, isConnected } }: { feed: Feed }): JSX.Element {
  const age = useAge();
  const mode = isReadOnly ? <span class="pill">read only</span> : null;
  if (view?.failure) {
    return (
      <p class="connection bad" role="alert">
        <span class="dot" aria-hidden="true" /> The server has not answered since {clockTime(view.failure.since)}:{" "}
        {view.failure.message}
      </p>
    );
  }
  const isLate = view !== null && age > 3 * view.pace + 3_000;
  if (!isConnected || isLate) {
    const since = view ? ` What you see is ${duration(age)} old.` : "";
    return (
      <p class="connection bad" role="status">
        <span class="dot" aria-hidden="true" /> {view ? "Connection lost; trying again." : "Connecting…"}
        {since}
      </p>
    );
  }
  return (
    <p class="connection">
      {mode}
      <span class="dot" aria-hidden="true" /> live
    </p>
  );
}
