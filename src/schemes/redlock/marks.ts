/**
 * Whether a node remembers. Each has a mark, with the run id of the server that was marked. Who finds it missing or that
 * of another run leaves the node out until every lease is over that it may have forgotten, which the others know, and
 * marks it again. No uptime and no wall clock is in that: docs/decisions/042-nodes-that-forgot.md
 */
import type { Clock } from "../../clock.ts";
import { SchemeError } from "../../errors.ts";
import { nameOfKey, nodeKey, noteKey, scanPattern } from "../keys.ts";
import { SILENT_AFTER } from "./node.ts";
import type { Meeting, Node } from "./node.ts";
import * as lua from "./scripts.generated.ts";
import { DECIDED_WITHIN, quorumOf } from "./verdict.ts";
import { integerOf, listOf, textOf } from "../set/replies.ts";

/** This many keys are looked at in one call. */
const STEP = 1_000;
/** Pauses before too few of the other nodes are asked again about one that forgot, in milliseconds. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 8_000;

interface Remembered {
  readonly mark: string;
  readonly run: string;
  readonly high: number;
  readonly absence: string;
}

/** What is known of one node. */
interface Met {
  readonly run: string;
  /** It has counted, here, at some time. */
  hasCounted: boolean;
  /** It was found not to remember. */
  absence: Absence | undefined;
}

/** By our clock. */
interface Absence {
  readonly foundAt: number;
  /** As the node itself keeps it; undefined before it was asked, or if nothing has to be waited for. */
  name: string | undefined;
  /** When the last lease is over that it may have forgotten; undefined until the other nodes have told. */
  until: number | undefined;
  /** Before then the others have nothing new to tell, unless one more node counts. */
  again: { readonly at: number; readonly counted: number; readonly reason: (now: number) => string } | undefined;
  pause: number;
}

/** What another node has noted of it, in milliseconds. */
interface Note {
  readonly witness: Node;
  /** How long ago it was found not to remember. */
  readonly age: number;
  /** Until the last lease is over that it may have forgotten; undefined if nobody has looked. */
  readonly left: number | undefined;
}

export class Marks implements Meeting {
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #delays: boolean;
  readonly #met = new Map<Node, Met>();
  /** By node that has never counted: what is wrong with it for good. */
  readonly faults: Map<Node, SchemeError> = new Map<Node, SchemeError>();
  nodes: readonly Node[] = [];
  /** Whose run was heard when no node had a mark: until it ends, it has not forgotten. */
  #unmarked: Promise<ReadonlyMap<Node, string>> | undefined;
  /** How often a node was found to count: it can tell then of others. */
  #counted = 0;
  /** The longest lease that this manager has asked for. It must do if too few other nodes can tell. */
  largestTtl: number;

  constructor(clock: Clock, settings: { prefix: string; delayRestarted: boolean; ttl: number }) {
    this.#clock = clock;
    this.#prefix = settings.prefix;
    this.#delays = settings.delayRestarted;
    this.largestTtl = settings.ttl;
  }

  /** The mark that its votes must carry. Rejects if they do not count now. */
  async meet(node: Node): Promise<string> {
    const recalling = this.#recall(node);
    // Who it is comes first: a replica that is being filled answers nothing else.
    recalling.catch(() => {});
    const met = await this.#identify(node);
    const { mark, run, absence: named } = await recalling;
    if (mark !== "" && run === met.run) return this.#counts(met, mark);
    // Another manager marked it, it voted, and has forgotten that: the time begins anew.
    if (met.absence?.name !== undefined && met.absence.name !== named) met.absence = undefined;
    const absence = (met.absence ??= {
      foundAt: this.#clock.now(),
      name: undefined,
      until: undefined,
      again: undefined,
      pause: FIRST_PAUSE,
    });
    if (absence.until === undefined) {
      if (absence.again && this.againIn(node) > 0) throw leftOut(absence.again.reason(this.#clock.now()));
      const time = await this.#leftOf(absence, node, met, mark);
      // From the end of that question on: the nodes may have taken long to answer.
      absence.until = this.#clock.now() + time;
    }
    const left = absence.until - this.#clock.now();
    if (left > 0) throw leftOut(`for another ${Math.ceil(left)} ms`);
    const fresh = crypto.randomUUID();
    const floor = await this.#floorFor(node);
    const [isMarked] = await node.run(lua.mark, {
      keys: [nodeKey(this.#prefix)],
      args: [mark, fresh, met.run, String(floor), absence.name ?? ""],
    });
    // Another manager was faster, or it was restarted again.
    if (Number(isMarked) !== 1) return this.meet(node);
    return this.#counts(met, fresh);
  }

  /**
   * Milliseconds until meeting it again may have it counted; 0 if that may be so now. Another manager may mark it
   * earlier.
   */
  againIn(node: Node): number {
    const absence = this.#met.get(node)?.absence;
    if (absence?.until !== undefined) return Math.max(0, absence.until - this.#clock.now());
    if (absence?.again?.counted !== this.#counted) return 0;
    return Math.max(0, absence.again.at - this.#clock.now());
  }

  #counts(met: Met, mark: string): string {
    this.#counted++;
    met.hasCounted = true;
    met.absence = undefined;
    return mark;
  }

  /** Milliseconds until the last lease is over that it may have forgotten. Rejects while that cannot be said. */
  async #leftOf(absence: Absence, node: Node, met: Met, mark: string): Promise<number> {
    const counted = this.#counted;
    if (!this.#delays) return 0;
    // If it writes every change to its disk first, and has that disk.
    if (mark !== "" && (await isDurable(node))) return 0;
    if (!met.hasCounted && (await this.#isNewFleet(node, met.run))) return 0;
    const others = this.nodes.filter((each) => each !== node);
    const [named] = await node.run(lua.absent, {
      keys: [nodeKey(this.#prefix)],
      args: [met.run, crypto.randomUUID()],
    });
    const name = (absence.name = String(named));
    const notes = await this.#settled(others, (each) => this.#noteOf(each, name));
    const told = notes.filter((note) => note !== undefined);
    // A client may be gone before it has waited for long: then the others know since when it has been waited for.
    const noted = told.length > 0 ? Math.min(...told.map(({ age }) => age)) : 0;
    const now = this.#clock.now();
    const age = Math.max(now - absence.foundAt, noted);
    // As many as meet every majority that it may have been part of.
    if (told.length < this.#enoughOf(others)) {
      const left = DECIDED_WITHIN + this.largestTtl - age;
      if (left <= 0) return 0;
      const reason = (then: number): string =>
        `for another ${Math.ceil(now + left - then)} ms, because too few of the other nodes can tell which`;
      absence.again = { at: now + Math.min(left, absence.pause), counted, reason };
      absence.pause = Math.min(2 * absence.pause, LONGEST_PAUSE);
      throw leftOut(reason(now));
    }
    // A lease that its vote from before helped to decide is known to others after that time, however slow they are.
    if (age < DECIDED_WITHIN) {
      const at = now + DECIDED_WITHIN - age;
      const reason = (then: number): string => `for another ${Math.ceil(at - then)} ms at least`;
      absence.again = { at, counted, reason };
      throw leftOut(reason(now));
    }
    const lefts = await Promise.all(
      told.map(async ({ witness, left }) => left ?? this.#noteLeases(witness, name).catch(() => undefined)),
    );
    if (lefts.includes(undefined)) throw leftOut("until the other nodes have told which");
    return Math.max(...(lefts as number[]));
  }

  /** Rejects if the witness has itself forgotten. */
  async #noteOf(witness: Node, absence: string, left?: number): Promise<Note> {
    const [server, { mark, run }] = await Promise.all([witness.send(["INFO", "server"]), this.#recall(witness)]);
    if (mark === "" || run !== field(server, "run_id")) throw leftOut("itself");
    const keys = [nodeKey(this.#prefix), noteKey(this.#prefix, absence)];
    const [note] = await witness.run(lua.note, { keys, args: [mark, left === undefined ? "" : String(left)] });
    if (!Array.isArray(note)) throw leftOut("itself");
    const [age, over] = note.map(Number) as [number, number];
    return { witness, age, left: over < 0 ? undefined : over };
  }

  async #noteLeases(witness: Node, absence: string): Promise<number> {
    const left = await this.#longestLease(witness);
    return (await this.#noteOf(witness, absence, left)).left ?? left;
  }

  #enoughOf(others: readonly Node[]): number {
    return Math.max(1, Math.min(others.length, this.nodes.length - quorumOf(this.nodes.length) + 1));
  }

  /**
   * Nobody had voted for anybody when this manager began. All nodes are judged by what they said then: another manager
   * may mark one after the other meanwhile.
   */
  async #isNewFleet(node: Node, run: string): Promise<boolean> {
    const unmarked = await (this.#unmarked ??= this.#lookForMarks());
    if (unmarked.size === 0) this.#unmarked = undefined;
    return unmarked.get(node) === run;
  }

  /** The run ids of all that answer, if none of them has a mark. */
  async #lookForMarks(): Promise<ReadonlyMap<Node, string>> {
    const said = await this.#settled(this.nodes, async (each) => {
      const [server, { mark }] = await Promise.all([each.send(["INFO", "server"]), this.#recall(each)]);
      return { each, mark, run: field(server, "run_id") };
    });
    const heard = said.filter((one) => one !== undefined);
    const isNew = heard.length >= quorumOf(this.nodes.length) && heard.every(({ mark }) => mark === "");
    return new Map(isNew ? heard.map(({ each, run }) => [each, run]) : []);
  }

  /** The highest fence or ticket that the others have seen; if too few can tell, our clock must do. */
  async #floorFor(node: Node): Promise<number> {
    const others = this.nodes.filter((each) => each !== node);
    const recalls = await this.#settled(others, (each) => this.#recall(each));
    const told = recalls.filter((each) => each !== undefined && each.mark !== "") as Remembered[];
    const least = told.length >= this.#enoughOf(others) ? 0 : Math.floor(this.#clock.micros());
    return Math.max(least, ...told.map(({ high }) => high));
  }

  /** What each says; undefined if it is away. A client keeps what is asked of a server that it cannot reach. */
  #settled<T>(nodes: readonly Node[], ask: (node: Node) => Promise<T>): Promise<(T | undefined)[]> {
    return Promise.all(
      nodes.map(async (each) => {
        if (each.isSilent || !(await this.#inTime(this.#recall(each)))) return undefined;
        return ask(each).catch(() => undefined);
      }),
    );
  }

  #inTime<T>(answer: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(SILENT_AFTER, () => resolve(undefined), true);
      const settle = (value?: T): void => {
        timer.cancel();
        resolve(value);
      };
      answer.then(settle, () => settle());
    });
  }

  async #recall(node: Node): Promise<Remembered> {
    const reply = await node.send(["HMGET", nodeKey(this.#prefix), "mark", "run", "high", "absence"]);
    const words = listOf(reply, "HMGET", 4).map((each) => textOf(each, "HMGET") ?? "");
    const [mark = "", run = "", high, absence = ""] = words;
    return { mark, run, high: integerOf(high || "0", "HMGET"), absence };
  }

  /** Milliseconds that the longest lease has left that the node knows: its locks' keys say so. */
  async #longestLease(node: Node): Promise<number> {
    let longest = 0;
    let cursor = "0";
    do {
      const reply = await node.send(["SCAN", cursor, "MATCH", scanPattern(this.#prefix), "COUNT", String(STEP)]);
      const [next, keys] = listOf(reply, "SCAN", 2);
      const locks = listOf(keys, "SCAN")
        .map(String)
        .filter((key) => nameOfKey(this.#prefix, key) !== undefined && !isQueue(key));
      const lefts = await Promise.all(locks.map((key) => node.send(["PTTL", key])));
      longest = Math.max(longest, ...lefts.map(Number));
      cursor = String(next);
    } while (cursor !== "0");
    return longest;
  }

  /** Which server it is. Rejects if that is a replica, or another node's, too. */
  async #identify(node: Node): Promise<Met> {
    const info = (section: string): Promise<unknown> => node.send(["INFO", section]);
    const [server, replication] = await Promise.all([info("server"), info("replication")]);
    const run = field(server, "run_id");
    const known = this.#met.get(node);
    if (field(replication, "role") === "slave") throw this.#fault(node, known, isReplica(node));
    const twin = run === "" ? undefined : this.nodes.find((each) => each !== node && this.#met.get(each)?.run === run);
    if (twin) throw this.#fault(node, known, isTwice(node, twin));
    this.faults.delete(node);
    if (known?.run === run) return known;
    const met: Met = { run, hasCounted: known?.hasCounted ?? false, absence: undefined };
    // At once: another node must not be met as the same server meanwhile.
    this.#met.set(node, met);
    return met;
  }

  /** Once it has counted, it is one vote less, and nothing that the user must mend before anything works. */
  #fault(node: Node, known: Met | undefined, error: SchemeError): SchemeError {
    if (!known?.hasCounted) this.faults.set(node, error);
    return error;
  }
}

/** Whether the server writes each change to its disk before it answers. If it may not be asked: no. */
async function isDurable(node: Node): Promise<boolean> {
  const reply = await node.send(["CONFIG", "GET", "append*"]).catch(() => []);
  // A list of names and values; if the client speaks RESP3, a map or an object.
  const pairs = reply instanceof Map ? [...reply] : Array.isArray(reply) ? reply : Object.entries(reply as object);
  const words = pairs.flat().map(String);
  const value = (name: string): string | undefined => words[words.indexOf(name) + 1];
  return value("appendonly") === "yes" && value("appendfsync") === "always";
}

function leftOut(howLong: string): SchemeError {
  const message = `It was restarted, may have forgotten leases, and is left out ${howLong} (delayRestarted).`;
  return new SchemeError("server", message, [], true);
}

function isQueue(key: string): boolean {
  return key.endsWith(":queue");
}

function isReplica(node: Node): SchemeError {
  const message = `Expected independent masters; ${node.title} is a replica. Give each node's own master.`;
  return new SchemeError("read-only", message, []);
}

function isTwice(node: Node, twin: Node): SchemeError {
  const [first, second] = [twin.title, node.title].sort();
  const message = `Expected each client to lead to a server of its own; ${first} and ${second} are one server. Leave one out.`;
  return new SchemeError("same-server", message, []);
}

function field(info: unknown, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(String(info))?.[1] ?? "";
}
