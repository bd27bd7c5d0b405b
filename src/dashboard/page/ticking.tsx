/** Times that pass: between two views they are counted here. */
import { createContext } from "preact";
import type { JSX } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { duration } from "./text.ts";

/** When what is shown was true, on the clock of `performance.now()`. */
export const LookedAt = createContext(0);

const STEP = 250;
const ticked = new Set<() => void>();
let timer: number | undefined;

/** Milliseconds since what is shown was true; renders again as they pass. */
export function useAge(): number {
  const at = useContext(LookedAt);
  const [, tick] = useState(0);
  useEffect(() => {
    const run = (): void => tick((n) => n + 1);
    ticked.add(run);
    timer ??= window.setInterval(() => ticked.forEach((each) => each()), STEP);
    return () => {
      ticked.delete(run);
      if (ticked.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  }, []);
  return at === 0 ? 0 : performance.now() - at;
}

/** Has been going on for that long, and still is. */
export function Since({ ms, isLeast = false }: { ms: number; isLeast?: boolean }): JSX.Element {
  const text = duration(ms + useAge());
  return (
    <span class="time">
      {isLeast ? "≥ " : ""}
      {text}
    </span>
  );
}

/** Ends in that long, unless it is renewed; of about `lease` in all. */
export function Left({ ms, lease }: { ms: number | null; lease: number | null }): JSX.Element {
  const age = useAge();
  if (ms === null) return <span class="never">never expires</span>;
  const left = Math.max(0, ms - age);
  const share = lease ? Math.min(1, left / lease) : 1;
  return (
    <span class="left">
      <span class={share < 0.34 ? "bar low" : "bar"} aria-hidden="true">
        <span style={{ width: `${(share * 100).toFixed(1)}%` }} />
      </span>
      <span class="time">{duration(left)}</span>
    </span>
  );
}
