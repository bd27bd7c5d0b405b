/**
 * The redlock scheme's fences as a model: three nodes and two clients, with messages that come late or never, keys that
 * vanish, clients that crash, servers that forget. `explore` visits every state that can be reached within its bounds
 * and tells of the first in which a promise is broken. What the votes decide is asked of the scheme's own functions;
 * the nodes' rules are those of src/lua, and a test compares the two on a server.
 */
import { judgeVotes, judgeYes } from "../../src/schemes/redlock/ballot.ts";
import type { Vote, Verdict } from "../../src/schemes/redlock/ballot.ts";

/** A node: who holds (0: nobody), its fence (0: none known), and its clock. */
export interface ModelNode {
  holder: number;
  fence: number;
  time: number;
}

/** What nodes do, and what votes decide. */
export interface Rules {
  /** The fence granted, or 0 where somebody else holds. */
  vote(node: ModelNode, token: number, proposal: number): number;
  raise(node: ModelNode, token: number, fence: number): boolean;
  renew(node: ModelNode, token: number, fence: number): boolean;
  evict(node: ModelNode, token: number, fence: number): boolean;
  judge(votes: readonly Vote[], nodes: number): Verdict | undefined;
}

export const RULES: Rules = {
  vote(node, token, proposal) {
    if (node.holder !== 0 && node.holder !== token) return 0;
    const least = node.fence === 0 ? node.time : node.holder === token ? node.fence : node.fence + 1;
    node.fence = Math.max(proposal, least);
    node.holder = token;
    return node.fence;
  },
  raise(node, token, fence) {
    if (node.holder !== token) return false;
    node.fence = Math.max(node.fence, fence);
    return true;
  },
  renew(node, token, fence) {
    if ((node.holder !== 0 && node.holder !== token) || node.fence > fence) return false;
    node.holder = token;
    node.fence = fence;
    return true;
  },
  evict(node, token, fence) {
    node.fence = Math.max(node.fence, fence + 1);
    const held = node.holder === token;
    if (held) node.holder = 0;
    return held;
  },
  judge: judgeVotes,
};

export interface Bounds {
  /** By request: the one after whose end its client makes it, or -1. All requests have tokens of their own. */
  readonly after: readonly number[];
  /** What a client may propose. */
  readonly proposals: readonly number[];
  /** Keys that vanish while their holder still counts on them. */
  readonly vanishing: number;
  /** Servers that lose their memory, and count again when their clock is beyond every fence of before. */
  readonly forgetting: number;
  /** Clients that ask again with the same token. */
  readonly asking: number;
  /** The first request asks for more time. */
  readonly extending: boolean;
  /** Somebody takes the lock from the first request by force. */
  readonly evicting: boolean;
}

const NODES = 3;

/** What became of a message to one node. */
const OUT = 0;
const UNHEARD = -1; // done, and its answer was lost
const NO = -2;
// Otherwise: the fence of a grant, or 1 for yes.

const PHASES = ["idle", "asking", "raising", "held", "extending", "extended", "over"] as const;
type Phase = (typeof PHASES)[number];

interface Request {
  phase: Phase;
  proposal: number;
  asked: number;
  /** The fence it holds with, or is raising to. */
  fence: number;
  granted: boolean;
  /** Its fence must be larger: the largest of those granted before it began. */
  floor: number;
  /** Somebody else was granted the lock after this one, and before this one asked to extend. */
  overtaken: boolean;
  extensionMustFail: boolean;
  readonly votes: number[];
  readonly raises: number[];
  readonly renewals: number[];
  /** Asked for by somebody else. */
  readonly evictions: number[];
}

interface State {
  readonly nodes: ModelNode[];
  readonly requests: Request[];
  vanished: number;
  forgotten: number;
  reasked: number;
}

export interface Exploration {
  readonly states: number;
  readonly violation: string | undefined;
}

/** What is no longer looked at does not tell states apart. */
function forget(answers: number[]): void {
  answers.forEach((each, i) => (answers[i] = each === OUT ? OUT : UNHEARD));
}

/** Depth first, over all states within the bounds; nodes are alike, so their order does not tell states apart. */
export function explore(bounds: Bounds, rules: Rules = RULES): Exploration {
  const seen = new Set<string>();
  const start: State = {
    nodes: Array.from({ length: NODES }, () => ({ holder: 0, fence: 1, time: 1 })),
    requests: bounds.after.map(() => idle()),
    vanished: 0,
    forgotten: 0,
    reasked: 0,
  };
  const stack = [start];
  for (let state = stack.pop(); state; state = stack.pop()) {
    const violation = successors(state, bounds, rules, (next) => {
      const key = keyOf(next);
      if (seen.has(key)) return;
      seen.add(key);
      stack.push(next);
    });
    if (violation) return { states: seen.size, violation };
  }
  return { states: seen.size, violation: undefined };
}

function idle(): Request {
  return {
    phase: "idle",
    proposal: 0,
    asked: 0,
    fence: 0,
    granted: false,
    floor: 0,
    overtaken: false,
    extensionMustFail: false,
    votes: [],
    raises: [],
    renewals: [],
    evictions: [],
  };
}

function keyOf({ nodes, requests, vanished, forgotten, reasked }: State): string {
  const columns = nodes.map(({ holder, fence, time }, i) => {
    const codes = [holder, fence, time];
    for (const { votes, raises, renewals, evictions } of requests)
      codes.push(code(votes, i), code(raises, i), code(renewals, i), code(evictions, i));
    return String.fromCharCode(...codes);
  });
  const codes = [vanished, forgotten, reasked];
  for (const { phase, proposal, fence, granted, floor, overtaken, extensionMustFail } of requests) {
    const flags = Number(granted) + 2 * Number(overtaken) + 4 * Number(extensionMustFail);
    codes.push(PHASES.indexOf(phase), proposal, fence, floor, flags);
  }
  return columns.sort().join("") + String.fromCharCode(...codes);
}

function code(answers: readonly number[], i: number): number {
  return (answers[i] ?? -3) + 3;
}

/** States share what is the same in them: whoever changes a node or a request gets one of its own first. */
function nodeOf(state: State, i: number): ModelNode {
  return (state.nodes[i] = { ...(state.nodes[i] as ModelNode) });
}

function requestOf(state: State, r: number): Request {
  const { votes, raises, renewals, evictions, ...rest } = state.requests[r] as Request;
  const lists = { votes: [...votes], raises: [...raises], renewals: [...renewals], evictions: [...evictions] };
  return (state.requests[r] = { ...rest, ...lists });
}

/** Everything that can happen next. Answers with what is wrong, if something is. */
function successors(state: State, bounds: Bounds, rules: Rules, add: (next: State) => void): string | undefined {
  let violation: string | undefined;
  const branch: Branch = (step) => {
    const next = { ...state, nodes: [...state.nodes], requests: [...state.requests] };
    const wrong = step(next);
    if (wrong === "same") return;
    if (wrong) violation ??= wrong;
    add(next);
  };
  state.requests.forEach((_, r) => {
    clientSteps(state, r, bounds, rules, branch);
    messageSteps(state, r, rules, branch);
  });
  faultSteps(state, bounds, branch);
  return violation;
}

/** Takes one step on a copy, which answers with what is wrong, if something is; or that it made no difference. */
type Branch = (step: (next: State) => string | undefined | void) => void;

function clientSteps(state: State, r: number, bounds: Bounds, rules: Rules, branch: Branch): void {
  const request = state.requests[r] as Request;
  const before = bounds.after[r] as number;
  if (request.phase === "idle") {
    if (before >= 0 && state.requests[before]?.phase !== "over") return;
    for (const proposal of bounds.proposals) branch((next) => begin(next, r, before, proposal));
    return;
  }
  if (request.phase === "over") return;
  // Crashed, gave up, or released: from now on its keys may go at any time.
  branch((next) => {
    const mine = requestOf(next, r);
    mine.phase = "over";
    [mine.votes, mine.raises, mine.renewals, mine.evictions].forEach(forget);
  });
  if (request.phase === "asking") {
    const verdict = rules.judge(votesOf(request.votes), NODES);
    if (verdict?.kind === "granted") branch((next) => win(next, r, verdict.fence));
    if (verdict?.kind === "raise") branch((next) => raise(next, r, verdict.fence));
    if (state.reasked < bounds.asking) {
      branch((next) => {
        const mine = requestOf(next, r);
        next.reasked++;
        mine.proposal = Math.max(...bounds.proposals);
        mine.votes.fill(OUT);
      });
    }
  }
  if (request.phase === "raising" && saysYes(request.raises)) branch((next) => win(next, r, request.fence));
  if (request.phase === "held" && bounds.extending && r === 0) branch((next) => extend(next, r));
  if (request.phase === "held" && bounds.evicting && r === 0 && request.evictions.length === 0) {
    branch((next) => void requestOf(next, r).evictions.push(...Array.from({ length: NODES }, () => OUT)));
  }
  if (request.phase === "extending" && saysYes(request.renewals)) {
    branch((next) => {
      requestOf(next, r).phase = "extended";
      return request.extensionMustFail ? "a lease was extended though another was granted in between" : undefined;
    });
  }
}

function begin(next: State, r: number, before: number, proposal: number): void {
  const mine = requestOf(next, r);
  const lastSeen = before < 0 ? 0 : (next.requests[before] as Request).fence;
  mine.phase = "asking";
  mine.proposal = Math.max(proposal, lastSeen + 1);
  mine.votes.push(...Array.from({ length: NODES }, () => OUT));
  mine.floor = Math.max(0, ...next.requests.filter(({ granted }) => granted).map(({ fence }) => fence));
}

function win(next: State, r: number, fence: number): string | undefined {
  const mine = requestOf(next, r);
  mine.phase = "held";
  mine.fence = fence;
  [mine.votes, mine.raises].forEach(forget);
  const twice = next.requests.some((other) => other.granted && other.fence === fence);
  mine.granted = true;
  // Of two that both count on the lock, the smaller fence was the earlier one on the node that granted both.
  next.requests.forEach((other, i) => {
    if (other.granted && other.fence < fence) requestOf(next, i).overtaken = true;
  });
  if (twice) return `the fence ${fence} was given twice`;
  return fence <= mine.floor ? `the fence ${fence} came after ${mine.floor}` : undefined;
}

function raise(next: State, r: number, fence: number): void {
  const mine = requestOf(next, r);
  mine.phase = "raising";
  mine.fence = fence;
  mine.raises.push(...mine.votes.map((vote) => (vote <= 0 ? NO : vote === fence ? 1 : OUT)));
  forget(mine.votes);
}

function extend(next: State, r: number): void {
  const mine = requestOf(next, r);
  mine.phase = "extending";
  // A majority that has answered is enough for whoever takes it by force.
  const isEvicted = mine.evictions.filter((each) => each !== OUT && each !== UNHEARD).length * 2 > NODES;
  mine.extensionMustFail = mine.overtaken || isEvicted;
  mine.renewals.push(...Array.from({ length: NODES }, () => OUT));
}

/** A message arrives, perhaps long after anybody wanted it; and its answer, or not. */
function messageSteps(state: State, r: number, rules: Rules, branch: Branch): void {
  const token = r + 1;
  const { phase, proposal, fence, votes, raises, renewals, evictions } = state.requests[r] as Request;
  const deliver = (which: "votes" | "raises" | "renewals" | "evictions", i: number, awaited: boolean): void => {
    const run = (next: State, isHeard: boolean): void => {
      const node = nodeOf(next, i);
      const answers = {
        votes: () => rules.vote(node, token, proposal) || NO,
        raises: () => (rules.raise(node, token, fence) ? 1 : NO),
        renewals: () => (rules.renew(node, token, fence) ? 1 : NO),
        evictions: () => (rules.evict(node, token, fence) ? 1 : NO),
      };
      const answer = answers[which]();
      requestOf(next, r)[which][i] = isHeard ? answer : UNHEARD;
    };
    // What changes nothing and is not heard is as good as still on its way.
    const before = state.nodes[i] as ModelNode;
    branch((next) => {
      run(next, false);
      const after = next.nodes[i] as ModelNode;
      return after.holder === before.holder && after.fence === before.fence ? "same" : undefined;
    });
    if (awaited) branch((next) => run(next, true));
  };
  votes.forEach((vote, i) => vote === OUT && deliver("votes", i, phase === "asking"));
  raises.forEach((each, i) => each === OUT && deliver("raises", i, phase === "raising"));
  renewals.forEach((each, i) => each === OUT && deliver("renewals", i, phase === "extending"));
  evictions.forEach((each, i) => each === OUT && deliver("evictions", i, phase === "held"));
}

function faultSteps(state: State, bounds: Bounds, branch: Branch): void {
  state.nodes.forEach(({ holder }, i) => {
    if (holder !== 0) {
      const isOver = state.requests[holder - 1]?.phase === "over";
      if (isOver || state.vanished < bounds.vanishing) {
        branch((next) => {
          nodeOf(next, i).holder = 0;
          if (!isOver) next.vanished++;
        });
      }
    }
    if (state.forgotten < bounds.forgetting) {
      branch((next) => {
        const latest = Math.max(...next.nodes.map((node) => node.fence), ...next.requests.map((r) => r.fence));
        next.nodes[i] = { holder: 0, fence: 0, time: latest + 1 };
        next.forgotten++;
      });
    }
  });
}

function votesOf(votes: readonly number[]): Vote[] {
  return votes.flatMap((vote): Vote[] => {
    if (vote === NO) return [{ kind: "held", left: 0, holder: "" }];
    return vote > 0 ? [{ kind: "granted", fence: vote }] : [];
  });
}

function saysYes(answers: readonly number[]): boolean {
  const heard = answers.filter((each) => each === NO || each > 0);
  return (
    judgeYes(
      heard.map((each) => ({ kind: each > 0 ? ("yes" as const) : ("no" as const) })),
      NODES,
    ) === "yes"
  );
}
