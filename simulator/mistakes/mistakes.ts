/** Mistakes planted in the Lua scripts, which the simulator must find: a checker that finds none of them checks nothing. */
import { createHash } from "node:crypto";
import type { Rule } from "../checks/verdict.ts";
import * as scripts from "../../src/schemes/lua/scripts.generated.ts";

/** What the right text is replaced by, in all scripts that have it. */
interface Mistake {
  readonly right: string | RegExp;
  readonly wrong: string | ((right: string) => string);
  /** The rule that the simulator must find broken. */
  readonly breaks: Rule;
}

export const MISTAKES = {
  "fences that fall": {
    right: "last < micros and micros or last + 1",
    wrong: "last - 1",
    breaks: "growing fences",
  },
  "a newcomer overtakes the queue": {
    right: "if not queued and compatible",
    wrong: "if compatible",
    breaks: "order on the server",
  },
  "permits are not counted": {
    right: "lock.used + permits <= tonumber(limit)",
    wrong: "true",
    breaks: "permits",
  },
  "exclusive beside shared": {
    right: "(lock.kind == 'shared' and mode == 'shared')",
    wrong: "lock.kind == 'shared'",
    breaks: "one holder",
  },
  "a release that lets nobody in": {
    right: "promote(lock, nil, nil, moved)",
    wrong: "",
    breaks: "service",
  },
  "a dead waiter is never passed over": {
    right: /if not window then\nleave_queue\(lock, head\)|if not stale_at or not alive\(other, stale_at, their_ear\)/g,
    wrong: (right) => (right.includes("window") ? "if not window then\nmore = false\nbreak" : "if false"),
    breaks: "service",
  },
  "a lease that is not lengthened": {
    right: "digits(max(ttl, call('PTTL', lock.key)))",
    wrong: "call('PTTL', lock.key)",
    breaks: "timely loss",
  },
} satisfies Record<string, Mistake>;

export type MistakeName = keyof typeof MISTAKES;

/** Makes the mistake, until what it returns is called. @throws RangeError if there is none of that name, or no such text */
export function plant(name: string): () => void {
  const mistake = (MISTAKES as Record<string, Mistake>)[name];
  if (!mistake) throw new RangeError(`Expected one of: ${Object.keys(MISTAKES).join("; ")}. Got ${name}.`);
  const all = Object.values(scripts) as { source: string; sha: string }[];
  const scriptsWithIt = all.filter(({ source }) => source.search(patternOf(mistake)) >= 0);
  if (scriptsWithIt.length === 0)
    throw new RangeError(`No script has the text that "${name}" changes. Adapt the mistake to the scripts.`);
  const { wrong } = mistake;
  const before = scriptsWithIt.map((script) => ({ ...script }));
  for (const script of scriptsWithIt) {
    script.source = script.source.replaceAll(patternOf(mistake), typeof wrong === "string" ? () => wrong : wrong);
    script.sha = createHash("sha1").update(script.source).digest("hex");
  }
  return () => {
    for (const [i, script] of scriptsWithIt.entries()) Object.assign(script, before[i]);
  };
}

function patternOf({ right }: Mistake): RegExp {
  return typeof right === "string" ? new RegExp(right.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "g") : right;
}
