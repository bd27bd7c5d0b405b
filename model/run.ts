/**
 * Checks the protocol of the redlock scheme before and beside its code: `npm run model`, a few minutes on one core;
 * `npm run model -- large` adds what takes up to an hour. Prints what it has checked, and ends with 1 if a promise can be
 * broken, or if a planted mistake goes unnoticed, for then the model would not notice it in the protocol either.
 */
import { judgeVotes } from "../src/schemes/redlock/verdict.ts";
import { explore, findStuck } from "./explore.ts";
import type { Explored, Model } from "./explore.ts";
import { FenceModel } from "./fences.ts";
import type { Mistakes as FenceMistakes, Terms as FenceTerms } from "./fences.ts";
import { MarksModel } from "./marks.ts";
import type { Mistakes as MarksMistakes, Terms as MarksTerms } from "./marks.ts";
import { type ModelNode, RULES } from "./node-rules.ts";
import { QueueModel } from "./queue.ts";
import type { Mistakes as QueueMistakes, Terms as QueueTerms } from "./queue.ts";

interface Case<Terms> {
  readonly title: string;
  readonly terms: Terms;
  readonly isLarge?: boolean;
}

const three = { managers: [0, 1, 2], tickets: [1, 2, 3] };

/** One holder (or readers only); request 0 is overtaken at most once by each manager; nothing gets stuck. */
const queue: Case<QueueTerms>[] = [
  { title: "three requests at once", terms: { managers: [0, 1, 2], asks: "ours" } },
  { title: "a manager that asks again at once", terms: { managers: [0, 1, 1], asks: "ours" } },
  { title: "one of two clients crashes", terms: { managers: [0, 1], asks: "ours", crashes: 1 } },
  { title: "a node forgets", terms: { managers: [0, 1], asks: "ours", forgets: 1 } },
  { title: "a writer between two readers", terms: { managers: [0, 1, 2], shared: [0, 2], asks: "ours" } },
  { title: "asked at any time, in any order", terms: { managers: [0, 1], asks: 1 } },
  { title: "asked at any time, and a node forgets", terms: { managers: [0, 1], asks: 1, forgets: 1 } },
  { title: "asked at any time, and a client crashes", terms: { managers: [0, 1], asks: 1, crashes: 1 } },
  { title: "late answers, and votes that lapse", terms: { ...two(), asks: 1, lapses: true, lateAnswers: true } },
  { title: "three tickets", terms: { ...three, asks: 0 } },
  { title: "three tickets, and votes that lapse", terms: { ...three, asks: 0, lapses: true } },
  { title: "three tickets, the second a writer's", terms: { ...three, shared: [0, 2], asks: 0 } },
  { title: "a manager's second ticket", terms: { managers: [0, 1, 1], tickets: [2, 1], asks: 0 } },
  { title: "three tickets, and a client crashes", terms: { ...three, asks: 0, crashes: 1 }, isLarge: true },
  { title: "three tickets, and a node forgets", terms: { ...three, asks: 0, forgets: 1 }, isLarge: true },
  { title: "three tickets, asked again", terms: { ...three, asks: 1 }, isLarge: true },
  { title: "three tickets, late answers", terms: { ...three, asks: 0, lateAnswers: true }, isLarge: true },
  {
    title: "a manager's second ticket, asked again",
    terms: { managers: [0, 1, 1], tickets: [2, 1], asks: 1 },
    isLarge: true,
  },
  {
    title: "three at once, and a client crashes",
    terms: { managers: [0, 1, 2], asks: "ours", crashes: 1 },
    isLarge: true,
  },
];

function two(): { managers: number[]; tickets: number[] } {
  return { managers: [0, 1], tickets: [1, 2] };
}

const queueMistakes: Case<QueueTerms & { mistakes: QueueMistakes }>[] = [
  {
    title: "a push counts that an older question has led to",
    terms: { ...three, asks: 1, mistakes: { staleGrants: true } },
  },
  {
    title: "whoever asks again keeps the vote it has",
    terms: { managers: [0, 1, 2], asks: "ours", mistakes: { keepsVote: true } },
  },
  {
    title: "a node moves its vote to a smaller ticket without asking",
    terms: { ...three, asks: 0, mistakes: { noConsent: true } },
  },
  {
    title: "a ticket is drawn from one node",
    terms: { managers: [0, 1, 1], tickets: [2, 1], asks: 1, mistakes: { oneTicket: true } },
  },
  {
    title: "a free node votes for whoever comes",
    terms: { managers: [0, 1, 2], asks: "ours", mistakes: { noQueue: true } },
  },
  {
    title: "a node that forgot counts at once",
    terms: { managers: [0, 1], asks: 1, forgets: 1, mistakes: { noMark: true } },
  },
  { title: "one node of three is enough", terms: { managers: [0, 1], asks: 0, mistakes: { noQuorum: true } } },
  {
    title: "the vote for a client that crashed stays",
    terms: { managers: [0, 1], asks: "ours", crashes: 1, mistakes: { noExpiry: true } },
  },
  { title: "a vote ends while its client counts on it", terms: { ...two(), asks: 0, mistakes: { earlyExpiry: true } } },
];

const any = [1, 3];

/** A grant's fence is larger than all before it, and no lease is extended after another grant. */
const fences: Case<FenceTerms>[] = [
  { title: "a key vanishes, clocks differ", terms: { proposals: [any, any], vanishing: 1 } },
  { title: "votes are given back", terms: { proposals: [[3], [2]], givingBack: 1 } },
  { title: "a lease is extended, and a key vanishes", terms: { proposals: [[1], [1]], extends: true, vanishing: 1 } },
  { title: "a lock is taken by force", terms: { proposals: [[1], [1]], extends: true, evicts: true } },
  { title: "a node comes back with old data", terms: { proposals: [[3], [1]], forgetting: 1, later: [1] } },
  { title: "two readers", terms: { proposals: [any, [2]], shared: [0, 1] } },
  { title: "two readers that tell the other nodes", terms: { proposals: [[1], [1]], shared: [0, 1], spreads: true } },
  { title: "two readers, votes are given back", terms: { proposals: [[1], [1]], shared: [0, 1], givingBack: 1 } },
  {
    title: "a reader and a writer, and a key vanishes",
    terms: { proposals: [[1], [2]], shared: [0], spreads: true, vanishing: 1 },
  },
  {
    title: "a lock is handed over, and a key vanishes",
    terms: { proposals: [any, any], takesOver: "heir", vanishing: 1 },
  },
  { title: "a lock is stolen", terms: { proposals: [any, any], takesOver: "thief", extends: true } },
  {
    title: "three readers, the last of whom begins later",
    terms: { proposals: [[1], [1], [1]], shared: [0, 1, 2], later: [2] },
    isLarge: true,
  },
  {
    title: "two readers, then a writer",
    terms: { proposals: [[1], [1], [1]], shared: [0, 1], later: [2] },
    isLarge: true,
  },
  { title: "three requests", terms: { proposals: [[1], [1], [1]] }, isLarge: true },
  {
    title: "three requests, and a key vanishes",
    terms: { proposals: [[2], [1], [1]], later: [2], vanishing: 1 },
    isLarge: true,
  },
  { title: "votes are given back twice", terms: { proposals: [any, [2]], givingBack: 2 }, isLarge: true },
  {
    title: "a lease is extended, votes are given back, and a key vanishes",
    terms: { proposals: [[2], any], givingBack: 1, extends: true, vanishing: 1 },
    isLarge: true,
  },
  { title: "a node comes back, clocks differ", terms: { proposals: [any, [1, 2]], forgetting: 1 }, isLarge: true },
];

const oldData: FenceTerms = { proposals: [[3], [1]], forgetting: 1, later: [1] };
const forced: FenceTerms = { proposals: [[1], [1]], extends: true, evicts: true };
const readers: FenceTerms = { proposals: [any, [2]], shared: [0, 1] };
const vanishing: FenceTerms = { proposals: [any, any], vanishing: 1 };

const fenceMistakes: Case<FenceTerms & { mistakes: FenceMistakes }>[] = [
  {
    title: "the fence of a majority is not told to all of it",
    terms: { ...vanishing, mistakes: { judge: (drawn, nodes) => withoutRaising(judgeVotes(drawn, nodes)) } },
  },
  { title: "one node of three is enough", terms: { ...vanishing, mistakes: { judge: (drawn) => first(drawn) } } },
  {
    title: "a fence is raised where the vote is somebody else's by now",
    terms: { ...vanishing, mistakes: { rules: { raise: raiseAnyway } } },
  },
  {
    title: "a vote need not draw a larger fence",
    terms: { ...vanishing, mistakes: { rules: { take: takeWithSame } } },
  },
  {
    title: "a key is put back without a look at the fence",
    terms: { ...forced, mistakes: { rules: { renew: renewAnyway } } },
  },
  {
    title: "a key is enough to renew, though a late vote put it there",
    terms: {
      ...forced,
      mistakes: { rules: { renew: (node, ...about) => node.votes.has(about[0]) || RULES.renew(node, ...about) } },
    },
  },
  {
    title: "a theft leaves the fence where the key was not",
    terms: {
      ...forced,
      mistakes: {
        rules: { evict: (node, token, fence) => void (node.votes.has(token) && RULES.evict(node, token, fence)) },
      },
    },
  },
  {
    title: "a vote that was given back still counts",
    terms: { proposals: [any, [2]], givingBack: 1, mistakes: { countsGivenBack: true } },
  },
  {
    title: "what a vote raised is put back though another has raised it since",
    terms: { ...forced, mistakes: { rules: { giveBack: putBackAnyway } } },
  },
  {
    title: "a reader is given the fence that another has on the node",
    terms: { ...readers, mistakes: { rules: { raise: raiseToWhatIsKnown } } },
  },
  {
    title: "a reader that gives up puts back what another has raised since",
    terms: { ...readers, givingBack: 1, mistakes: { rules: { raise: raiseExactly } } },
  },
  {
    title: "an heir keeps the fence of its lock",
    terms: { proposals: [[1], [1]], takesOver: "heir", mistakes: { rules: { handOver: handOverAsItIs } } },
  },
  { title: "a node that forgot has no floor", terms: { ...oldData, mistakes: { noFloor: true } } },
  { title: "a node that forgot counts at once", terms: { ...oldData, mistakes: { noWait: true } } },
];

/** A node that forgot never helps a second holder to a majority, though no manager lasts long enough to wait. */
const marks: Case<MarksTerms>[] = [
  { title: "a node forgets", terms: { within: 1, ttl: 2, forgets: 1 } },
  { title: "a node forgets twice", terms: { within: 1, ttl: 2, forgets: 2 } },
  { title: "votes that come later", terms: { within: 2, ttl: 3, forgets: 1 }, isLarge: true },
];

const forgetting = { within: 1, ttl: 2, forgets: 1 };

const marksMistakes: Case<MarksTerms & { mistakes: MarksMistakes }>[] = [
  { title: "the leases are looked at at once", terms: { ...forgetting, mistakes: { noWait: true } } },
  { title: "the node counts before the leases are over", terms: { ...forgetting, mistakes: { noLeases: true } } },
  { title: "one witness is enough", terms: { ...forgetting, mistakes: { oneWitness: true } } },
  { title: "what was noted before counts", terms: { ...forgetting, forgets: 2, mistakes: { oldNotes: true } } },
  { title: "the node's own clock is trusted", terms: { ...forgetting, mistakes: { ownClock: true } } },
  { title: "votes count, however late", terms: { ...forgetting, mistakes: { lateVotes: true } } },
];

function withoutRaising(verdict: ReturnType<typeof judgeVotes>): ReturnType<typeof judgeVotes> {
  return verdict && { kind: "granted", fence: verdict.fence };
}

function first(drawn: readonly number[]): ReturnType<typeof judgeVotes> {
  return drawn.length > 0 ? { kind: "granted", fence: drawn[0] as number } : undefined;
}

function raiseAnyway(node: ModelNode, token: number, _: boolean, fence: number): boolean {
  node.fence = Math.max(node.fence, fence);
  const vote = node.votes.get(token);
  if (vote) vote.last = fence;
  return true;
}

function raiseToWhatIsKnown(node: ModelNode, token: number, shared: boolean, fence: number): boolean {
  return RULES.renew(node, token, shared, fence);
}

function renewAnyway(node: ModelNode, token: number, shared: boolean, fence: number): boolean {
  const { fence: known } = node;
  node.fence = Math.min(known, fence);
  const isRenewed = RULES.renew(node, token, shared, fence);
  node.fence = known;
  return isRenewed;
}

function takeWithSame(node: ModelNode, token: number, shared: boolean, proposal: number): number | undefined {
  if (node.votes.has(token)) return RULES.take(node, token, shared, proposal);
  const { fence } = node;
  node.fence = Math.max(0, fence - 1);
  const drawn = RULES.take(node, token, shared, Math.max(fence, proposal));
  node.fence = Math.max(fence, node.fence);
  return drawn;
}

function putBackAnyway(node: ModelNode, token: number): void {
  const vote = node.votes.get(token);
  if (vote) node.fence = Math.min(node.fence, vote.before);
  node.votes.delete(token);
}

function raiseExactly(node: ModelNode, token: number, shared: boolean, fence: number): boolean {
  const isRaised = RULES.raise(node, token, shared, fence);
  if (isRaised) node.fence = Math.min(node.fence, fence);
  return isRaised;
}

function handOverAsItIs(node: ModelNode, token: number, heir: number): number | undefined {
  const vote = node.votes.get(token);
  if (!vote) return undefined;
  node.votes.delete(token);
  node.votes.set(heir, vote);
  return vote.last;
}

let isBroken = false;
const isLarge = process.argv.includes("large");

function report(title: string, what: string, explored: Explored, startedAt: number): void {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(`  ${title}: ${what} (${explored.states.toLocaleString("en")} states, ${seconds} s)`);
}

function check(title: string, run: () => Explored): void {
  const startedAt = performance.now();
  const explored = run();
  if (explored.violation) isBroken = true;
  report(title, explored.violation ? `BROKEN: ${explored.violation.what}` : "holds", explored, startedAt);
  for (const [i, step] of explored.violation?.path.entries() ?? []) console.log(`    ${i + 1}. ${step}`);
}

function expectFound(title: string, run: () => Explored): void {
  const startedAt = performance.now();
  const explored = run();
  const { what, path = [] } = explored.violation ?? {};
  if (!what) isBroken = true;
  report(title, what ? `found: ${what}, in ${path.length} steps` : "NOT FOUND", explored, startedAt);
}

const isServed = (model: QueueModel) => () => findStuck(model, (state) => model.isServed(state));
const explored = (model: Model) => () => explore(model);

console.log("The queue: one holder, nobody overtaken twice by one manager");
for (const { title, terms, isLarge: large } of queue)
  if (!large || isLarge) check(title, explored(new QueueModel(terms)));
console.log("The queue: everybody who lives is served");
for (const { title, terms, isLarge: large } of queue) {
  if (terms.asks === "ours" && (!large || isLarge)) check(title, isServed(new QueueModel(terms)));
}
console.log("The queue: planted mistakes");
for (const { title, terms } of queueMistakes) {
  const model = new QueueModel(terms);
  expectFound(title, terms.asks === "ours" ? isServed(model) : explored(model));
}
console.log("Fences: each is larger than all before, and no lease outlives another grant");
for (const { title, terms, isLarge: large } of fences)
  if (!large || isLarge) check(title, explored(new FenceModel(terms)));
console.log("Fences: planted mistakes");
for (const { title, terms } of fenceMistakes) expectFound(title, explored(new FenceModel(terms)));
console.log("Nodes that forgot: one holder, by the clock");
for (const { title, terms, isLarge: large } of marks)
  if (!large || isLarge) check(title, explored(new MarksModel(terms)));
console.log("Nodes that forgot: planted mistakes");
for (const { title, terms } of marksMistakes) expectFound(title, explored(new MarksModel(terms)));
process.exitCode = isBroken ? 1 : 0;
