/** What happened around a violation, as lines that a person can follow. */
import type { Affliction } from "../checks/affliction.ts";
import type { History, Request } from "../checks/history.ts";
import type { Violation } from "../checks/verdict.ts";

/** How far back, and how far on, in milliseconds; and how many lines at most. */
const BEFORE = 1_500;
const AFTER = 200;
const MOST = 80;

interface Moment {
  readonly t: number;
  readonly what: string;
}

export function timeline(
  { at, lock }: Violation,
  history: History,
  afflictions: readonly Affliction[],
  start: number,
): string[] {
  const requests = history.requests.filter((request) => lock !== undefined && request.lock === lock);
  const moments = [...requests.flatMap(momentsOf), ...afflictions.flatMap(momentsOfFault)]
    .filter(({ t }) => t >= at - BEFORE && t <= at + AFTER)
    .sort((a, b) => a.t - b.t);
  const shown = moments.slice(-MOST);
  return shown.map(({ t, what }) => `${((t - start) / 1_000).toFixed(4).padStart(10)}  ${what}`);
}

function momentsOf(request: Request): Moment[] {
  const { label, verb, lock, mode, asked, queued, hold, settled, how, message = "" } = request;
  const moments: Moment[] = [{ t: asked, what: `${label} asks for ${lock}: ${verb}, ${mode}` }];
  if (queued !== undefined) moments.push({ t: queued, what: `${label} is in the queue` });
  if (hold) {
    const { begun, fence, heldUntil, ended } = hold;
    moments.push({ t: begun, what: `${label} is granted ${lock}, fence ${fence}` });
    if (heldUntil !== undefined) moments.push({ t: heldUntil, what: `${label} still holds ${lock}` });
    if (ended !== undefined) moments.push({ t: ended, what: `${label} is about to give ${lock} back` });
  }
  if (settled !== undefined) moments.push({ t: settled, what: `${label}: ${how} ${message}` });
  return moments;
}

function momentsOfFault({ fault, from, until }: Affliction): Moment[] {
  return [
    { t: from, what: `*** ${fault}` },
    { t: until, what: `*** over: ${fault}` },
  ];
}
