/** The history of a run: what each request of each process did, put together from their journals. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Belief, Entry, Verb } from "../client/journal.ts";

/** What a program believed to hold, as far as its own journal proves it. */
export interface Hold {
  readonly fence: number;
  readonly token: string;
  readonly begun: number;
  /** When it was last seen to be held; undefined if it never was. */
  heldUntil: number | undefined;
  /** The end of its lease as its process knew it last, by the clock of all. */
  deadline: number;
  /** When its program was about to release it, or saw that it was lost. */
  ended: number | undefined;
}

export interface Request {
  /** The client, the number of its process, and the number of the request there. */
  readonly label: string;
  readonly client: string;
  /** The process that made it. */
  readonly process: ProcessHistory;
  readonly verb: Verb;
  readonly lock: string;
  readonly mode: "exclusive" | "shared";
  readonly permits: number | undefined;
  readonly ttl: number;
  readonly isAlone: boolean;
  readonly asked: number;
  /** When it gives up by itself; Infinity if it does not. */
  readonly givesUp: number;
  queued: number | undefined;
  hold: Hold | undefined;
  /** How many times its code has begun. */
  begun: number;
  settled: number | undefined;
  how: string | undefined;
  message: string | undefined;
}

export interface ProcessHistory {
  readonly client: string;
  readonly name: string;
  /** Times in which it had no processor. */
  readonly stalls: { readonly from: number; readonly until: number }[];
  /** The last thing that it wrote down. */
  last: number;
  closing: number | undefined;
  /** It has ended by itself. */
  isDown: boolean;
  readonly requests: Map<number, Request>;
}

export class History {
  readonly processes: ProcessHistory[] = [];

  async read(path: string, name: string): Promise<void> {
    const journal = this.open(name);
    for await (const line of createInterface({ input: createReadStream(path) })) {
      // A process that is killed while it writes leaves a part of a line.
      if (line.endsWith("}")) journal(JSON.parse(line) as Entry);
    }
  }

  /** One process's part. @returns what takes its entries, in order */
  open(name: string): (entry: Entry) => void {
    const client = name.replace(/\.\d+$/, "");
    const history: ProcessHistory = {
      client,
      name,
      stalls: [],
      last: 0,
      closing: undefined,
      isDown: false,
      requests: new Map(),
    };
    this.processes.push(history);
    return (entry) => add(history, entry);
  }

  get requests(): Request[] {
    return this.processes.flatMap(({ requests }) => [...requests.values()]);
  }

  /** Of each lock, in the order in which they were asked for. */
  get byLock(): Map<string, Request[]> {
    const locks = new Map<string, Request[]>();
    for (const request of this.requests) {
      const others = locks.get(request.lock);
      if (others) others.push(request);
      else locks.set(request.lock, [request]);
    }
    for (const requests of locks.values()) requests.sort((a, b) => a.asked - b.asked);
    return locks;
  }
}

function add(history: ProcessHistory, entry: Entry): void {
  const { t } = entry;
  history.last = t;
  switch (entry.e) {
    case "up":
      return;
    case "asked": {
      const { r, verb, lock, mode, permits, ttl, alone = false, waitTimeout, abortAfter } = entry;
      const patience = verb === "try" || verb === "once" ? (waitTimeout ?? 0) : (waitTimeout ?? Infinity);
      history.requests.set(r, {
        label: `${history.name}#${r}`,
        client: history.client,
        process: history,
        verb,
        lock,
        mode,
        permits,
        ttl,
        isAlone: alone,
        asked: t,
        givesUp: t + Math.min(patience, abortAfter ?? Infinity),
        queued: undefined,
        hold: undefined,
        begun: 0,
        settled: undefined,
        how: undefined,
        message: undefined,
      });
      return;
    }
    case "stalled":
      history.stalls.push({ from: entry.from, until: t });
      return;
    case "closing":
      history.closing = t;
      return;
    case "down":
      history.isDown = true;
      return;
    case "queued":
    case "granted":
    case "sampled":
    case "leaving":
    case "settled": {
      const request = history.requests.get(entry.r);
      if (!request) throw new Error(`${history.name} never asked for request ${entry.r}.`);
      progress(request, entry);
    }
  }
}

function progress(request: Request, entry: Extract<Entry, { readonly r: number }>): void {
  const { t } = entry;
  if (entry.e === "queued") request.queued ??= t;
  else if (entry.e === "settled") {
    request.settled = t;
    request.how = entry.how;
    request.message = entry.message;
  } else if (entry.e === "granted") {
    request.begun++;
    const { fence, token } = entry;
    request.hold = { fence, token, begun: t, heldUntil: undefined, deadline: -Infinity, ended: undefined };
    sample(request.hold, t, entry);
  } else if (request.hold && (entry.e === "sampled" || entry.e === "leaving")) {
    sample(request.hold, t, entry);
    if (entry.e === "leaving" || !entry.held) request.hold.ended ??= t;
  }
}

function sample(hold: Hold, t: number, { held, left }: Belief): void {
  if (!held) return;
  hold.heldUntil = t;
  hold.deadline = Math.max(hold.deadline, t + left);
}
