/**
 * What has stored a write: replicas, and disks. WAIT and WAITAOF, sent right after a write on the same
 * connection, are answered when as many have it as required, or when their time is over, with how many have it.
 *
 * They confirm the last write of their own connection and, because replication has one order, everything that the
 * server wrote before it. So a call that must be confirmed has to write something, whatever it finds.
 */
import type { Durability, Wish } from "../durability.ts";
import { SchemeError } from "../errors.ts";
import type { Driver } from "./driver.ts";
import type { ScriptRunner } from "./run-script.ts";
import { schemeError } from "./server-errors.ts";

/** A requirement as the command that asks for it; calls with the same one can share it. */
export type Proof = `WAIT${string}`;

export function proofOf(wish: Wish | undefined): Proof | undefined {
  if (!wish) return undefined;
  const { replicas, aof, timeout } = wish;
  return aof ? `WAITAOF 1 ${replicas} ${timeout}` : `WAIT ${replicas} ${timeout}`;
}

/** A command, and the proof right after it. */
export async function sendProven(
  driver: Driver,
  command: readonly string[],
  key: string,
  proof: Proof,
): Promise<[reply: unknown, reached: Durability]> {
  const [reply, proven] = await driver.inOrder([command, proof.split(" ")], key);
  if (reply instanceof Error) throw reply;
  return [reply, levelOf(proven)];
}

/** For a script's call. After the replies to its items comes what was reached. */
export function proving(driver: Driver, proof: Proof): ScriptRunner {
  return {
    scripts: driver.scripts,
    ownerOf: (key) => driver.ownerOf(key),
    send: async (command, key = "") => {
      const [replies, reached] = await sendProven(driver, command, key, proof);
      return [...(replies as unknown[]), reached];
    },
  };
}

/**
 * MULTI … EXEC, and the proof right behind it. Null when a watched key has changed; else the replies, where one that
 * failed is an Error, and behind them what was reached.
 */
export async function transactProven(
  driver: Driver,
  commands: readonly (readonly string[])[],
  key: string,
  proof: Proof,
): Promise<unknown[] | null> {
  if (driver.client === "glide") {
    // It opens connections anew in silence, and keeps MULTI to itself: what a WAIT counts could be another's writes.
    const message = 'GLIDE cannot prove what the scheme "set" writes. Use the scheme "lua", or another client.';
    throw new SchemeError("no-wait", message, []);
  }
  const replies = await driver.inOrder([["MULTI"], ...commands, ["EXEC"], proof.split(" ")], key);
  const proven = replies.pop();
  const done = replies.at(-1);
  // EXEC says only that some command was refused.
  if (done instanceof Error) throw replies.find((reply) => reply instanceof Error);
  return done === null ? null : [...(done as unknown[]), levelOf(proven)];
}

/** What was reached, at the end of a call's replies. Undefined if the call had no proof. */
export function reachedIn(replies: readonly unknown[], wish: Wish | undefined): Durability | undefined {
  return wish && (replies.at(-1) as Durability);
}

/** @throws SchemeError if the server does not say */
function levelOf(proven: unknown): Durability {
  if (proven instanceof Error) throw schemeError(proven);
  if (!Array.isArray(proven)) return { replicas: Number(proven), aof: false };
  const [local, replicas] = proven as unknown[];
  return { replicas: Number(replicas), aof: Number(local) > 0 };
}
