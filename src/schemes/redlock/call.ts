/** What one node is asked about several locks in one script call. */
import type { Caller } from "../../caller.ts";
import type { Script, ScriptStrings } from "../../drivers/driver.ts";
import { checkReply } from "../../drivers/replies.ts";
import { ScriptCall } from "../../drivers/run-script.ts";
import type { Queued } from "../../queue.ts";
import type { NodeKeys } from "../keys.ts";
import { ask, handover, keep, release, renew, seize, take } from "./scripts.generated.ts";

/** What a node is asked about one lock, by the name of the script. */
export interface Item extends Caller<unknown> {
  readonly keys: NodeKeys;
  /** As the script takes them. */
  readonly args: readonly string[];
  /** Nobody wants to know any more, unless it has been sent. */
  readonly isOver: boolean;
  /** If the node did not answer of late, find out first whether it does now. */
  insists?: boolean;
  /** Written when it is sent. */
  isSent?: boolean;
}

export type Kind = "take" | "ask" | "renew" | "keep" | "handover" | "release" | "seize";

interface Form {
  readonly script: Script<ScriptStrings, ScriptStrings>;
  /** How many of a lock's keys it takes. */
  readonly width: number;
  /** How many of an item's arguments come once in a call, the same for all of its items. */
  readonly shared: number;
  readonly hasMark: boolean;
  readonly hasChannel: boolean;
}

function form(script: Form["script"], { width = 5, shared = 0, hasMark = true, hasChannel = true } = {}): Form {
  return { script, width, shared, hasMark, hasChannel };
}

const FORMS: Record<Kind, Form> = {
  take: form(take, { width: 3, shared: 2, hasChannel: false }),
  ask: form(ask),
  renew: form(renew),
  keep: form(keep),
  handover: form(handover),
  release: form(release, { shared: 1, hasMark: false }),
  seize: form(seize),
};

/** Whether two items of a kind may share a call. */
export function mayShare(kind: Kind): (a: Item, b: Item) => boolean {
  const { shared } = FORMS[kind];
  return (a, b) => {
    for (let i = 0; i < shared; i++) if (a.args[i] !== b.args[i]) return false;
    return true;
  };
}

/** What a node's scripts are given with each call. */
export interface NodeWords {
  readonly key: string;
  readonly mark: string;
  readonly channel: string;
}

export function callOf(kind: Kind, items: readonly Item[], { key, mark, channel }: NodeWords): ScriptCall {
  const { script, width, shared, hasMark, hasChannel } = FORMS[kind];
  const first = items[0] as Item;
  const own = first.args.length - shared;
  const head = (hasMark ? 1 : 0) + (hasChannel ? 1 : 0) + shared;
  const call = new ScriptCall(script, 1 + width * items.length, head + own * items.length);
  call.add(key);
  for (const { keys } of items) for (let i = 0; i < width; i++) call.add(keys[i] as string);
  if (hasMark) call.add(mark);
  if (hasChannel) call.add(channel);
  for (let i = 0; i < shared; i++) call.add(first.args[i] as string);
  for (const { args } of items) for (let i = shared; i < args.length; i++) call.add(args[i] as string);
  return call;
}

/** A call that is out, and who hears its answer first. */
export class Call implements Caller<unknown>, Queued<Call> {
  readonly kind: Kind;
  readonly items: readonly Item[];
  readonly sentAt: number;
  before: Call | undefined;
  behind: Call | undefined;
  readonly #hearer: Hearer;

  constructor(hearer: Hearer, kind: Kind, items: readonly Item[], sentAt: number) {
    this.#hearer = hearer;
    this.kind = kind;
    this.items = items;
    this.sentAt = sentAt;
  }

  answered(answer: unknown): void {
    this.#hearer.answered(this, answer);
  }

  failed(error: unknown): void {
    this.#hearer.failed(this, error);
  }

  /** Each item gets its own reply. */
  tell(answer: unknown): void {
    const replies = Array.isArray(answer) ? (answer as unknown[]) : [answer];
    for (let i = 0; i < this.items.length; i++) tell(this.items[i] as Item, replies[i]);
  }

  fail(error: unknown): void {
    for (const item of this.items) item.failed(error);
  }
}

export interface Hearer {
  answered(call: Call, answer: unknown): void;
  failed(call: Call, error: unknown): void;
}

/** The reply may be the failure of this item alone. */
function tell(item: Item, reply: unknown): void {
  let answer;
  try {
    answer = checkReply(reply);
  } catch (error) {
    return item.failed(error);
  }
  item.answered(answer);
}
