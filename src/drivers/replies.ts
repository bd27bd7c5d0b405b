/** Replies of scripts, read strictly: what has another shape is an error, never an outcome. */
import { SchemeError } from "../errors.ts";
import { schemeError } from "./server-errors.ts";

/** @throws SchemeError unless it is a list */
export function readList(reply: unknown): unknown[] {
  if (Array.isArray(reply)) return reply as unknown[];
  throw unknownReply(reply);
}

/** @throws SchemeError unless it is a whole number */
export function readNumber(reply: unknown): number {
  const number = typeof reply === "number" ? reply : Number(readText(reply) || NaN);
  if (!Number.isSafeInteger(number)) throw unknownReply(reply);
  return number;
}

/** Clients may be set to answer with buffers. */
export function readText(reply: unknown): string {
  if (typeof reply === "string") return reply;
  if (typeof reply === "number" || typeof reply === "bigint") return String(reply);
  if (reply instanceof Uint8Array) return Buffer.from(reply).toString();
  const [what, why] = Array.isArray(reply) ? reply : [];
  if (what === "ERR") throw failed(why);
  throw unknownReply(reply);
}

/**
 * One item's reply.
 *
 * @throws SchemeError if it failed, which concerns nobody else in the call; or if there is none, because the list is too
 *   short
 */
export function checkReply(reply: unknown): unknown {
  if (reply === undefined) throw unknownReply(reply);
  if (isFailure(reply)) throw failed(reply[1]);
  return reply;
}

export function isFailure(reply: unknown): reply is ["ERR", unknown] {
  return Array.isArray(reply) && String(reply[0]) === "ERR";
}

/** What a script says of an item that failed. */
export function failed(why: unknown): SchemeError {
  return schemeError(new Error(readText(why)));
}

/** Something else answered, such as a MULTI of the user's on the same connection. */
export function unknownReply(reply: unknown): SchemeError {
  const shown = typeof reply === "string" ? JSON.stringify(reply.slice(0, 40)) : typeof reply;
  return new SchemeError(
    "server",
    `The client answered a script with ${shown}, which no script of holdfast says. ` +
      "If the connection is used for MULTI, MONITOR or blocking commands, give the manager a client of its own.",
    [reply],
  );
}

/** @throws SchemeError unless it is a list with that many elements for each row */
export function rows(reply: unknown, width: number): unknown[][] {
  const flat = readList(reply);
  if (flat.length % width !== 0) throw unknownReply(reply);
  return Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
}
