/**
 * A command that a Cluster refuses was not executed, so it may be sent again: to the key's new server, or after a
 * pause.
 */
import { sleep } from "../runtime.ts";
import { isClosed, messageOf } from "./server-errors.ts";

/** How often, and after which pause in milliseconds, as ioredis does it with single commands. */
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
    await sleep(PAUSE);
  }
}

/**
 * Several commands on one connection, which nobody redirects.
 *
 * @param send to the server that keeps the key; or, with ASKING, to the one that is just being given its slot
 * @param find sends something harmless, so that the client finds out where the key is
 */
export async function untilAccepted(
  send: (asked?: string) => Promise<unknown[]>,
  find: () => Promise<unknown>,
): Promise<unknown[]> {
  let asked: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const replies = await send(asked);
    const refusal = replies.find(
      (reply): reply is Error => reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message),
    );
    if (!refusal || attempt === MOST_ATTEMPTS) return replies;
    [, asked] = /^ASK \d+ (\S+)/.exec(refusal.message) ?? [];
    if (asked !== undefined) continue;
    await find();
    if (!refusal.message.startsWith("MOVED")) await sleep(PAUSE);
  }
}

/**
 * The commands in the form that a server needs while it is being given their slot: ASKING covers one command, or one
 * MULTI.
 */
export function asking(commands: readonly (readonly string[])[]): readonly (readonly string[])[] {
  let inMulti = false;
  return commands.flatMap((command) => {
    const [name = ""] = command;
    const told = inMulti || name.startsWith("WAIT") ? [command] : [["ASKING"], command];
    inMulti = name === "MULTI" || (inMulti && name !== "EXEC");
    return told;
  });
}

/** The replies to the commands themselves. */
export function withoutAsking(replies: readonly unknown[], asked: readonly (readonly string[])[]): unknown[] {
  return replies.filter((_, i) => asked[i]?.[0] !== "ASKING");
}

/** The error of one server of a Cluster: if its connection is closed, the client need not be. */
export function ofServer(error: unknown, isClientOpen: boolean): unknown {
  if (!isClientOpen || !isClosed(error)) return error;
  return new Error("The connection to a server of the Cluster was lost", { cause: error });
}
