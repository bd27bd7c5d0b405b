/**
 * Mistakes planted in the library, which the simulator must find: a checker that finds none of them checks nothing. Those
 * in the Lua scripts are made in memory; those in the TypeScript code in a copy of it.
 */
import { createHash } from "node:crypto";
import type { Rule } from "../checks/verdict.ts";
import type { SchemeUnderTest } from "../plan/plan.ts";
import * as one from "../../src/schemes/lua/scripts.generated.ts";
import * as several from "../../src/schemes/redlock/scripts.generated.ts";

/** What the right text is replaced by. */
type Edit = readonly [right: string | RegExp, wrong: string | ((right: string) => string)];

export interface Mistake {
  /** Below src/. Undefined: all scripts that have the text. */
  readonly file?: string;
  readonly edits: readonly Edit[];
  readonly scheme: SchemeUnderTest;
  /** A rule that the simulator must find broken. */
  readonly breaks: Rule;
  /** It shows where everybody wants one lock. */
  readonly crowd?: boolean;
  /** It shows where two readers ask at the same moment. */
  readonly readers?: boolean;
  /** Faults in an hour, if those that are drawn make it too rare. */
  readonly faults?: number;
}

export const MISTAKES = {
  "fences that fall": {
    edits: [["last < micros and micros or last + 1", "last - 1"]],
    scheme: "lua",
    breaks: "growing fences",
  },
  "a newcomer overtakes the queue": {
    edits: [["if not queued and compatible", "if compatible"]],
    scheme: "lua",
    breaks: "order on the server",
  },
  "permits are not counted": {
    edits: [["lock.used + permits <= tonumber(limit)", "true"]],
    scheme: "lua",
    breaks: "permits",
  },
  "permits of others are forgotten": {
    edits: [["(lock.used or 0) + permits", "permits"]],
    scheme: "lua",
    breaks: "permits",
  },
  "exclusive beside shared": {
    edits: [["(lock.kind == 'shared' and mode == 'shared')", "lock.kind == 'shared'"]],
    scheme: "lua",
    breaks: "one holder",
  },
  "a release of whoever holds": {
    edits: [
      [
        "if lock.kind == 'exclusive' and lock.token == token then\ncall('DEL', lock.key)",
        "if lock.kind == 'exclusive' then\ncall('DEL', lock.key)",
      ],
    ],
    scheme: "lua",
    breaks: "one holder",
  },
  "a release that lets nobody in": {
    edits: [["promote(lock, nil, nil, moved)", ""]],
    scheme: "lua",
    breaks: "service",
  },
  "a quick release that lets nobody in": {
    edits: [
      [
        "local ours = call('GET', KEYS[2 * i - 1]) == ARGV[i] and call('EXISTS', KEYS[2 * i]) == 0",
        "local ours = call('GET', KEYS[2 * i - 1]) == ARGV[i]",
      ],
    ],
    scheme: "lua",
    breaks: "service",
  },
  "a grant that is not pushed": {
    edits: [["if head ~= me then tell(lock, head, 'granted', fence, fences, asked) end", ""]],
    scheme: "lua",
    breaks: "service",
  },
  "a dead waiter is never passed over": {
    edits: [
      [
        /if not window then\nleave_queue\(lock, head\)|if not stale_at or not alive\(other, stale_at, their_ear\)/g,
        (right) => (right.includes("window") ? "if not window then\nmore = false\nbreak" : "if false"),
      ],
    ],
    scheme: "lua",
    breaks: "service",
    faults: 400,
  },
  "a lease without an end": {
    edits: [
      ["label == '' and value or value .. '#' .. label, 'PX', ttl)", "label == '' and value or value .. '#' .. label)"],
    ],
    scheme: "lua",
    breaks: "service",
  },
  "a lease that is not lengthened": {
    edits: [["digits(max(ttl, call('PTTL', lock.key)))", "call('PTTL', lock.key)"]],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a deadline without drift": {
    file: "leases/deadline.ts",
    edits: [["return ttl * 0.01 + 2;", "return 0;"]],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a claim that is skipped": {
    file: "waiting/turn.ts",
    edits: [
      [
        "const claimed = isWhole ? undefined : Promise.race([lease.claim(), room.scheme.written(own.lock)]);",
        "const claimed = undefined;",
      ],
    ],
    scheme: "lua",
    breaks: "errors",
  },
  "a grant that counts from its answer": {
    file: "waiting/place.ts",
    edits: [[": grant, askedAt);", ": grant, now);"]],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a renewal that counts from its answer": {
    file: "waiting/extensions.ts",
    edits: [
      [
        "caller.extended(asked.askedAt, asked.until)",
        "caller.extended(performance.now(), performance.now() + asked.until - asked.askedAt)",
      ],
    ],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a push that counts from its arrival": {
    file: "waiting/place.ts",
    edits: [["const until = since + Math", "const until = this.#clock.now() + Math"]],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a lost push without a poke": {
    file: "waiting/place.ts",
    edits: [["this.#askWithin(Math.min(pokeAfter, latest));", ""]],
    scheme: "lua",
    breaks: "service",
  },
  "a request that is given up and not withdrawn": {
    file: "waiting/place.ts",
    edits: [
      ["if (wasAsked) this.#owner.room.farewell(", "if (wasAsked && error !== undefined) this.#owner.room.farewell("],
    ],
    scheme: "lua",
    breaks: "service",
  },
  "a turn of readers that lets writers in": {
    file: "waiting/turn.ts",
    edits: [['while (this.#hasFollowers && this.grant.mode === "shared");', "while (this.#hasFollowers);"]],
    scheme: "lua",
    breaks: "one holder",
  },
  "a line that serves the last first": {
    file: "waiting/place.ts",
    edits: [["this.requests.add(request);", "this.requests.addFirst(request);"]],
    scheme: "lua",
    breaks: "order in a process",
  },
  "a turn whose holders share a fence": {
    file: "waiting/turn.ts",
    edits: [["fence: this.grant.fence + this.#handed }", "fence: this.grant.fence }"]],
    scheme: "lua",
    breaks: "growing fences",
    crowd: true,
  },
  "a lease without its maxHold": {
    file: "leases/lease.ts",
    edits: [["if (maxHold !== undefined) this.#end = from + maxHold;", ""]],
    scheme: "lua",
    breaks: "timely loss",
  },
  "a wait without an end": {
    file: "waiting/request.ts",
    edits: [["if (waitTimeout) this.#endAt(this.joinedAt + waitTimeout, waitTimeout);", ""]],
    scheme: "lua",
    breaks: "service",
  },
  "a wait that cannot be aborted": {
    file: "waiting/request.ts",
    edits: [["if (signal) this.#ignoreSignal = onAbort(signal, () => this.end(signal.reason));", ""]],
    scheme: "lua",
    breaks: "service",
  },
  "fences by the client's clock": {
    file: "schemes/set/fences.ts",
    edits: [["if (!this.#heard) return 0;", "return Date.now() * 1000;"]],
    scheme: "set",
    breaks: "growing fences",
    faults: 400,
  },
  "a fence that is used though it is late": {
    file: "schemes/set/fences.ts",
    edits: [["isLate: hadNoFloor ||", "isLate: false && hadNoFloor &&"]],
    scheme: "set",
    breaks: "growing fences",
    faults: 400,
  },
  "a lock that is taken without NX": {
    file: "schemes/set/grants.ts",
    edits: [['set.push("NX");', ""]],
    scheme: "set",
    breaks: "one holder",
  },
  "a release that does not compare": {
    file: "schemes/set/watch.ts",
    edits: [['if (textOf(values[i], "MGET") !== item.value)', "if (values[i] === null)"]],
    scheme: "set",
    breaks: "one holder",
  },
  "a transaction that failed counts as done": {
    file: "schemes/set/watch.ts",
    edits: [
      [
        "if (!replies) return false;",
        "if (!replies) { for (const { item } of equal) item.resolve(true); return true; }",
      ],
    ],
    scheme: "set",
    breaks: "nothing is left",
    crowd: true,
  },
  "a turn that goes on after its lock was stolen": {
    file: "waiting/turn.ts",
    edits: [
      ["!this.#isLost &&\n", ""],
      ['if (this.#isLost) this.lose("stolen");', ""],
    ],
    scheme: "lua",
    breaks: "timely loss",
    crowd: true,
  },
  "a free lock is taken past the queue": {
    edits: [
      ["local all_free = call('EXISTS', unpack(KEYS, 2)) == 0", "local all_free = false"],
      [
        /call\('EXISTS', KEYS\[[^\]]*\], KEYS\[[^\]]*\]\) == 0/g,
        (right) => right.replace(/, KEYS\[[^\]]*\]\) == 0/, ") == 0"),
      ],
    ],
    scheme: "lua",
    breaks: "order on the server",
    crowd: true,
  },
  "a closed manager that listens on": {
    file: "schemes/lua.ts",
    edits: [
      ["this.#channels.close();", ""],
      ["this.#driver.close();", ""],
    ],
    scheme: "lua",
    breaks: "nothing is left",
  },
  "a majority of one less": {
    file: "schemes/redlock/verdict.ts",
    edits: [["return Math.floor(nodes / 2) + 1;", "return Math.floor(nodes / 2);"]],
    scheme: "redlock",
    breaks: "one holder",
  },
  "a vote that is counted twice": {
    file: "schemes/redlock/claim.ts",
    edits: [
      ["if (said.votes >= quorum) return this.#decide();", "if (2 * said.votes >= quorum) return this.#decide();"],
      ["votes.map(({ vote }) => vote?.last ?? 0);", "votes.flatMap(({ vote }) => [vote?.last ?? 0, vote?.last ?? 0]);"],
    ],
    scheme: "redlock",
    breaks: "timely loss",
  },
  "votes that are not withdrawn": {
    file: "schemes/redlock.ts",
    edits: [
      [
        "if (nodes.length === 0) return report(GONE, caller);",
        "if (nodes.length === 0 || lost) return report(GONE, caller);",
      ],
    ],
    scheme: "redlock",
    breaks: "nothing is left",
  },
  "a fence that a majority does not know": {
    file: "schemes/redlock/verdict.ts",
    edits: [
      ["const fence = sorted[quorum - 1] as number;", "const fence = sorted[0] as number;"],
      ["each === fence).length;", "each >= fence).length;"],
    ],
    scheme: "redlock",
    breaks: "growing fences",
  },
  "votes that count from their answers": {
    file: "waiting/place.ts",
    edits: [[": grant, askedAt);", ": grant, now);"]],
    scheme: "redlock",
    breaks: "timely loss",
  },
  "a renewal that counts on a minority": {
    file: "schemes/redlock/verdict.ts",
    edits: [['if (yes >= quorum) return "extended";', 'if (yes > 0) return "extended";']],
    scheme: "redlock",
    breaks: "timely loss",
  },
  "two readers with one fence": {
    edits: [["if how == 'raise' then", "if false then"]],
    scheme: "redlock",
    breaks: "growing fences",
    readers: true,
  },
} satisfies Record<string, Mistake>;

export type MistakeName = keyof typeof MISTAKES;

/** @throws RangeError if there is none of that name */
export function mistakeOf(name: string): Mistake {
  const mistake = (MISTAKES as Record<string, Mistake>)[name];
  if (!mistake) throw new RangeError(`Expected one of: ${Object.keys(MISTAKES).join("; ")}. Got ${name}.`);
  return mistake;
}

/** The text with the mistake. @throws RangeError if it does not have the right text */
export function edited(text: string, edits: readonly Edit[]): string {
  return edits.reduce((before, [right, wrong]) => {
    const after = before.replaceAll(patternOf(right), typeof wrong === "string" ? () => wrong : wrong);
    if (after === before) throw new RangeError(`Nothing has the text ${String(right)}. Adapt the mistake to the code.`);
    return after;
  }, text);
}

/** Makes a mistake of the scripts, until what it returns is called. */
export function plant(name: string): () => void {
  const { edits, scheme } = mistakeOf(name);
  const all = Object.values(scheme === "redlock" ? several : one) as { source: string; sha: string }[];
  const [[right]] = edits as readonly [Edit];
  const scriptsWithIt = all.filter(({ source }) => source.search(patternOf(right)) >= 0);
  if (scriptsWithIt.length === 0)
    throw new RangeError(`No script has the text ${String(right)}. Adapt "${name}" to them.`);
  const before = scriptsWithIt.map((script) => ({ ...script }));
  for (const script of scriptsWithIt) {
    script.source = edited(script.source, edits);
    script.sha = createHash("sha1").update(script.source).digest("hex");
  }
  return () => {
    for (const [i, script] of scriptsWithIt.entries()) Object.assign(script, before[i]);
  };
}

function patternOf(right: string | RegExp): RegExp {
  return typeof right === "string" ? new RegExp(right.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "g") : right;
}
