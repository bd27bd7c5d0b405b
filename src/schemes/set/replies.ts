/**
 * Replies to plain commands, read strictly: a reply of another shape is an error, never an
 * outcome. Clients can be set up to answer with Buffers, or with other types for numbers; what is still the same reply
 * is read as such.
 */
import { schemeError } from "../../drivers/server-errors.ts";
import { SchemeError } from "../../errors.ts";
import { show } from "../../options/checks.ts";

/** @throws SchemeError for a command that failed, or a reply that is neither a string nor null */
export function textOf(reply: unknown, command: string): string | null {
  if (typeof reply === "string" || reply === null) return reply;
  if (Buffer.isBuffer(reply)) return reply.toString();
  throw unexpected(reply, command, "a string or null");
}

/** @throws SchemeError for a command that failed, or a reply that is no integer that a number can hold exactly */
export function integerOf(reply: unknown, command: string): number {
  if (Number.isSafeInteger(reply)) return reply as number;
  const text = typeof reply === "bigint" ? String(reply) : Buffer.isBuffer(reply) ? reply.toString() : reply;
  if (typeof text === "string" && /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw unexpected(reply, command, "an integer");
}

/** True for OK, false for null. @throws SchemeError for anything else */
export function isDone(reply: unknown, command: string): boolean {
  if (reply === "OK") return true;
  if (reply === null) return false;
  if (Buffer.isBuffer(reply) && reply.toString() === "OK") return true;
  throw unexpected(reply, command, "OK or null");
}

/** @throws SchemeError for a command that failed, or a reply that is not a list (of this length) */
export function listOf(reply: unknown, command: string, length?: number): unknown[] {
  if (Array.isArray(reply) && (length === undefined || reply.length === length)) return reply as unknown[];
  throw unexpected(reply, command, length === undefined ? "a list" : `a list of ${length}`);
}

function unexpected(reply: unknown, command: string, expected: string): SchemeError {
  if (reply instanceof Error) return schemeError(reply);
  return new SchemeError(
    "server",
    `Expected ${expected} as the reply to ${command}, got ${reply === undefined ? "nothing" : show(reply)}. ` +
      "Give the manager a client of its own: one that is not in a MULTI of yours, and that answers with strings and numbers.",
    [],
  );
}
