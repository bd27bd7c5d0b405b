import { SHOWS, SORTS } from "../observation/find.ts";
import type { Question } from "./view.ts";

const LONGEST_SEARCH = 200;
const FEWEST_ROWS = 100;
const MOST_ROWS = 2_000;

/** What a URL asks for, with defaults for what is missing or wrong. */
export function questionIn(query: URLSearchParams): Question {
  const count = Number(query.get("count"));
  return {
    search: (query.get("search") ?? "").slice(0, LONGEST_SEARCH),
    show: SHOWS.find((each) => each === query.get("show")) ?? "all",
    sort: SORTS.find((each) => each === query.get("sort")) ?? "attention",
    count: Math.min(Math.max(Number.isSafeInteger(count) ? count : 0, FEWEST_ROWS), MOST_ROWS),
    lock: query.get("lock"),
  };
}
