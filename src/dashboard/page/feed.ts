/** The data from the dashboard's server. */
import { useEffect, useState } from "preact/hooks";
import type { LockPast, Past, Point, Question, View } from "../view.ts";
import { queryOf, urlOf } from "./place.ts";

export interface Feed {
  readonly view: View | null;
  /** The history of the lock that is looked at. */
  readonly past: LockPast | null;
  /** When the look was, on the clock of `performance.now()`. */
  readonly at: number;
  readonly isConnected: boolean;
}

const NOTHING: Feed = { view: null, past: null, at: 0, isConnected: false };
const RETRY = 2_000;

/** Views for the question, as long as the page can be seen. */
export function useFeed(question: Question): Feed {
  const [feed, setFeed] = useState(NOTHING);
  const isVisible = useVisibility();
  const query = queryOf(question);
  useEffect(() => setFeed((before) => ({ ...before, past: null })), [question.lock]);
  useEffect(() => {
    if (!isVisible) return undefined;
    let [events, timer]: [EventSource | undefined, number | undefined] = [undefined, undefined];
    const open = (): void => {
      events = new EventSource(urlOf(`events?${query}`));
      events.addEventListener("message", ({ data }: MessageEvent<string>) => {
        const view = JSON.parse(data) as View;
        const at = performance.now() - view.age;
        setFeed((before) => ({ view, at, past: view.past ?? before.past, isConnected: true }));
      });
      events.addEventListener("error", () => {
        setFeed((before) => ({ ...before, isConnected: false }));
        // The browser tries again after a lost connection, but not after a refusal.
        if (events?.readyState === EventSource.CLOSED) timer = window.setTimeout(open, RETRY);
      });
    };
    open();
    return () => {
      events?.close();
      clearTimeout(timer);
    };
  }, [query, isVisible]);
  return feed;
}

function useVisibility(): boolean {
  const [isVisible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const look = (): void => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  return isVisible;
}

export type Range = "recent" | "minutes";

const QUARTER_OF_AN_HOUR = 15 * 60_000;
const MINUTE = 60_000;

/** The points of the charts: fetched once, or every minute for those of the day; what views bring is added. */
export function useHistory(range: Range, newest: Point | null, isConnected: boolean): readonly Point[] {
  const [points, setPoints] = useState<readonly Point[]>([]);
  useEffect(() => {
    if (!isConnected) return undefined;
    const load = async (): Promise<void> => {
      try {
        const response = await fetch(urlOf(`history?range=${range}`));
        if (response.ok) setPoints(((await response.json()) as Past)[range]);
      } catch {
        // The lost connection is shown already; when it is back, this is tried again.
      }
    };
    void load();
    const timer = range === "minutes" ? setInterval(() => void load(), MINUTE) : undefined;
    return () => clearInterval(timer);
  }, [range, isConnected]);
  useEffect(() => {
    if (!newest || range === "minutes") return;
    setPoints((before) => {
      if ((before.at(-1)?.time ?? 0) >= newest.time) return before;
      return [...before.filter(({ time }) => time > newest.time - QUARTER_OF_AN_HOUR), newest];
    });
  }, [newest?.time, range]);
  return points;
}
