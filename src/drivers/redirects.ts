/** What a Cluster refuses has not been done, so it may be sent again: where the key is now, or when its slot has settled. */
import { setTimeout as sleep } from "node:timers/promises";
import { isClosed, messageOf } from "./server-errors.ts";

/** So often, and after such a pause, in milliseconds; as ioredis does it with single commands. */
const MOST_ATTEMPTS = 16;
const PAUSE = 100;

/** One command, of a client that follows MOVED and ASK but knows of no pause. */
export async function untilSettled(send: () => Promise<unknown>): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      if (attempt === MOST_ATTEMPTS || !/^(TRYAGAIN|CLUSTERDOWN)\b/.test(messageOf(error))) throw error;
    }
    await sleep(PAUSE, undefined, { ref: false });
  }
}

/**
 * Several commands on one connection, which nobody redirects.
 *
 * @param find sends something harmless, so that the client finds out where the key is
 */
export async function untilAccepted(send: () => Promise<unknown[]>, find: () => Promise<unknown>): Promise<unknown[]> {
  for (let attempt = 1; ; attempt++) {
    const replies = await send();
    const refusal = replies.find(
      (reply) => reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message),
    );
    if (!refusal || attempt === MOST_ATTEMPTS) return replies;
    await find();
    if (!messageOf(refusal).startsWith("MOVED")) await sleep(PAUSE, undefined, { ref: false });
  }
}

/** What a server of a Cluster failed with: if its connection is closed, that need not be true of the client. */
export function ofServer(error: unknown, isClientOpen: boolean): unknown {
  if (!isClientOpen || !isClosed(error)) return error;
  return new Error("The connection to a server of the Cluster was lost", { cause: error });
}
