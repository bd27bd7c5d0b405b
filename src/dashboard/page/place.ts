/** The URL's fragment says what is shown, so that it survives a reload and can be sent to a colleague. */
import { useEffect, useState } from "preact/hooks";
import { questionIn } from "../question.ts";
import type { Question } from "../view.ts";

export function usePlace(): [Question, (change: Partial<Question>) => void] {
  const [place, setPlace] = useState(placeInUrl);
  useEffect(() => {
    const read = (): void => setPlace(placeInUrl());
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  const change = (changed: Partial<Question>): void => {
    history.replaceState(null, "", hashOf({ ...placeInUrl(), ...changed }));
    setPlace(placeInUrl());
  };
  return [place, change];
}

function placeInUrl(): Question {
  return questionIn(new URLSearchParams(location.hash.slice(1)));
}

/** The query, or the fragment, that asks for it: what is as it is by default is left out. */
export function queryOf({ search, show, sort, count, lock }: Question): string {
  const query = new URLSearchParams();
  if (lock !== null) query.set("lock", lock);
  if (search) query.set("search", search);
  if (show !== "all") query.set("show", show);
  if (sort !== "attention") query.set("sort", sort);
  if (count > 100) query.set("count", String(count));
  return query.toString();
}

export function hashOf(question: Question): string {
  return `#${queryOf(question)}`;
}

/** Where the events come from: below the page, wherever that is mounted. */
export function urlOf(part: string): string {
  return `${location.pathname.replace(/\/?$/, "/")}${part}`;
}
