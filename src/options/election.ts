import { abortSignal, dictionary, duration, onlyAmong } from "./checks.ts";
import { checkName, checkRequest } from "./request.ts";
import type { Defaults } from "./request.ts";

/** Settings of a candidate. Durations are in milliseconds. */
export interface ElectOptions {
  /** Ends the candidacy: a candidate stops waiting, a leader is asked to stop (`term.signal`), and the loop ends. */
  signal?: AbortSignal | undefined;
  /** How soon a crashed leader is replaced, at the latest (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /** Who leads, shown to people (default: the manager's). */
  label?: string | undefined;
}

/** Settings of an observer. */
export interface ObserveOptions {
  /** Ends the observation: the loop ends. */
  signal?: AbortSignal | undefined;
  /** How often to look, in milliseconds (default 1000, at least 50): two small commands each time. */
  interval?: number | undefined;
}

/** A candidacy: the options of its request. */
export interface CheckedElection {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly ttl: number;
  readonly label: string;
}

const ELECT_OPTIONS = new Set(["signal", "ttl", "label"]);

/** @throws what `checkRequest` throws, and TypeError for options that elections do not have */
export function checkElection(name: unknown, options: unknown, manager: Defaults): CheckedElection {
  onlyAmong(dictionary(options, "options"), ELECT_OPTIONS);
  const { lock, signal, ttl, label: who } = checkRequest(name, options, manager, "acquire");
  return { name: lock, signal, ttl, label: who };
}

export interface CheckedObservation {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly interval: number;
}

const OBSERVE_OPTIONS = new Set(["signal", "interval"]);
const SHORTEST_INTERVAL = 50;

/** @throws TypeError or RangeError */
export function checkObservation(name: unknown, options: unknown): CheckedObservation {
  const given = dictionary(options, "options");
  onlyAmong(given, OBSERVE_OPTIONS);
  return {
    name: checkName(name),
    signal: abortSignal(given["signal"]),
    interval: duration(given["interval"], "interval", SHORTEST_INTERVAL) ?? 1_000,
  };
}
