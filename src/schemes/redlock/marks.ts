/**
 * Whether a node remembers. Each has a mark, with the run id of the server that was marked. Who finds it missing or that
 * of another run leaves the node out until every lease is over that it may have forgotten, which the others know, and
 * marks it again. No uptime and no wall clock is in that: docs/decisions/042-nodes-that-forgot.md
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { SchemeError } from "../../errors.ts";
import { nodeKey, scanPattern } from "../keys.ts";
import type { Meeting, Node } from "./node.ts";
import * as lua from "./scripts.generated.ts";
import { quorumOf } from "./verdict.ts";

/** This many keys are looked at in one call. */
const STEP = 1_000;

interface Remembered {
  readonly mark: string;
  readonly run: string;
  readonly high: number;
}

/** What is known of one node. */
interface Met {
  runId: string;
  /** It had a mark when we met. */
  wasMarked: boolean;
  /** Its votes count only then, by our clock. */
  until: number;
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
  /** The longest lease that this manager has asked for. Only it knows if too few others do. */
  largestTtl: number;

  constructor(clock: Clock, settings: { prefix: string; delayRestarted: boolean; ttl: number }) {
    this.#clock = clock;
    this.#prefix = settings.prefix;
    this.#delays = settings.delayRestarted;
    this.largestTtl = settings.ttl;
  }

  /** The mark that its votes must carry. Rejects if they do not count now. */
  async meet(node: Node): Promise<string> {
    const known = this.#met.get(node);
    const [run, { mark, run: marked }] = await Promise.all([this.#identify(node), this.#recall(node)]);
    if (mark !== "" && marked === run) {
      this.#met.set(node, { runId: run, wasMarked: true, until: -Infinity });
      return mark;
    }
    const isNew = known === undefined || known.runId !== run || known.wasMarked || Number.isNaN(known.until);
    const until = isNew ? await this.#leaveOut(node, run, known) : known.until;
    this.#met.set(node, { runId: run, wasMarked: false, until });
    const left = until - this.#clock.now();
    if (left > 0) throw leftOut(left);
    const fresh = randomUUID();
    const floor = await this.#floorFor(node);
    const [isMarked] = await node.run(lua.mark, {
      keys: [nodeKey(this.#prefix)],
      args: [mark, fresh, run, String(floor)],
    });
    if (Number(isMarked) !== 1) return this.meet(node);
    this.#met.set(node, { runId: run, wasMarked: true, until: -Infinity });
    return fresh;
  }

  /** Until when it may have forgotten leases. */
  async #leaveOut(node: Node, run: string, known: Met | undefined): Promise<number> {
    if (!this.#delays || (await isDurable(node))) return -Infinity;
    if (!known?.wasMarked && (await this.#isNewFleet(node, run))) return -Infinity;
    const askedAt = this.#clock.now();
    const others = this.nodes.filter((each) => each !== node);
    const recalls = await this.#settled(others, (each) => this.#recall(each));
    const marked = others.filter((_, i) => recalls[i] && recalls[i].mark !== "");
    const quorum = quorumOf(this.nodes.length);
    const lefts = await this.#settled(marked, (each) => this.#longestLease(each));
    const told = lefts.filter((left) => left !== undefined);
    // As many as meet every majority that it may have been part of.
    if (told.length >= Math.min(others.length, this.nodes.length - quorum + 1) && others.length > 0)
      return askedAt + Math.max(...told) + this.#clock.now() - askedAt;
    if (known?.wasMarked) return askedAt + this.largestTtl;
    throw new SchemeError(
      "unreachable",
      "It may have forgotten leases, and too few of the other nodes answer to tell how long they last.",
      [],
      true,
    );
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

  /** The highest fence or ticket that the others have seen. */
  async #floorFor(node: Node): Promise<number> {
    const others = this.nodes.filter((each) => each !== node);
    const recalls = await this.#settled(others, (each) => this.#recall(each));
    return Math.max(0, ...recalls.map((each) => each?.high ?? 0));
  }

  #settled<T>(nodes: readonly Node[], ask: (node: Node) => Promise<T>): Promise<(T | undefined)[]> {
    return Promise.all(
      nodes.map((each) => (each.isSilent ? Promise.resolve(undefined) : ask(each).catch(() => undefined))),
    );
  }

  async #recall(node: Node): Promise<Remembered> {
    const reply = await node.send(["HMGET", nodeKey(this.#prefix), "mark", "run", "high"]);
    const [mark, run, high] = (reply as unknown[]).map((each) => (each === null ? "" : String(each)));
    return { mark: mark ?? "", run: run ?? "", high: Number(high) };
  }

  /** Milliseconds that the longest lease has left that the node knows: its locks' keys say so. */
  async #longestLease(node: Node): Promise<number> {
    let longest = 0;
    let cursor = "0";
    const sibling = /(:(holders|fence|queue|waiters|node)|client:[\w-]{22})$/;
    do {
      const reply = await node.send(["SCAN", cursor, "MATCH", scanPattern(this.#prefix), "COUNT", String(STEP)]);
      const [next, keys] = reply as [unknown, unknown[]];
      const locks = keys.map(String).filter((key) => !sibling.test(key));
      const lefts = await Promise.all(locks.map((key) => node.send(["PTTL", key])));
      longest = Math.max(longest, ...lefts.map(Number));
      cursor = String(next);
    } while (cursor !== "0");
    return longest;
  }

  /** The run id of its server. Rejects if that is a replica, or another node's, too. */
  async #identify(node: Node): Promise<string> {
    const info = (section: string): Promise<unknown> => node.send(["INFO", section]);
    const [server, replication] = await Promise.all([info("server"), info("replication")]);
    const run = field(server, "run_id");
    if (field(replication, "role") === "slave") throw this.#fault(node, isReplica(node));
    const twin =
      run === "" ? undefined : this.nodes.find((each) => each !== node && this.#met.get(each)?.runId === run);
    if (twin) throw this.#fault(node, isTwice(node, twin));
    this.faults.delete(node);
    // At once: another node must not be met as the same server meanwhile.
    const known = this.#met.get(node);
    if (known?.runId !== run) this.#met.set(node, { runId: run, wasMarked: known?.wasMarked ?? false, until: NaN });
    return run;
  }

  #fault(node: Node, error: SchemeError): SchemeError {
    this.faults.set(node, error);
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

function leftOut(left: number): SchemeError {
  const message = `It was restarted, may have forgotten leases, and is left out for another ${Math.ceil(left)} ms (delayRestarted).`;
  return new SchemeError("server", message, [], true);
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
