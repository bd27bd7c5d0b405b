/** The arguments of the scripts that a request is asked with. */
import { CLAIM_WINDOW } from "../scheme.ts";
import type { LockMode, Question } from "../scheme.ts";
import type { How, Link } from "./link.ts";

/** A request, as far as a node hears of it. */
export interface Worded {
  readonly request: Question;
  readonly mode: LockMode;
  readonly fences: number;
  /** The last of the fences that it has. */
  readonly last: number;
  /** From where on its fences are to be drawn. */
  readonly proposal: number;
  /** Its place in the queue; undefined until it is drawn. */
  readonly place: number | undefined;
}

/** What the script `take` is for: `ask` takes more arguments, and longer. */
export function isPlain({ mode, label, waiting, wait }: Question): boolean {
  return mode === "exclusive" && label === "" && waiting === 1 && wait;
}

/** Of a plain request, the same for all nodes. */
export function takeWords({ request, fences, proposal }: Worded): string[] {
  return [String(request.ttl), String(fences), request.token, String(proposal)];
}

export function questionWords(of: Worded, { number, node }: Link, how: How): string[] {
  const { token, mode, ttl, label, waiting, maxQueue, wait, ticket } = of.request;
  if (how === "raise") return leaseWords(of, Math.min(ttl, CLAIM_WINDOW), how);
  if (how === "take" && isPlain(of.request)) return takeWords(of);
  // Who has been told that it waits is not refused any more.
  const most = wait && ticket === undefined ? (maxQueue ?? "") : "";
  const asked = [of.fences, of.proposal, of.place ?? 0, number, waiting, node.listens ? 1 : 0, most];
  return [token, how, mode, ttl, ...asked, label].map(String);
}

/** @param how what else is to happen to the lease: nothing, "shared", or "raise" */
export function leaseWords({ request, mode, fences, last }: Worded, ttl: number, how = ""): string[] {
  const first = last - fences + 1;
  return [request.token, how, how === "shared" ? how : mode, String(first), String(last), String(ttl), request.label];
}
