/**
 * Local turns: all who wait for one lock in one process share one place in the scheme's queue. When the place is
 * granted, the lock goes from hand to hand in memory, first come first served, each with a fence of its own: to those
 * who waited when the turn began, so many at most, and not after {@link TURN_TIME}. Then it is released, and the next
 * process has its turn.
 *
 * A request that is alone in its process goes through as it is. Others, who look from outside, see the first grant of
 * a turn while it lasts, and how many wait at a place.
 */
import type { Clock } from "../clock.ts";
import type { Wish } from "../durability.ts";
import { unsupported } from "../errors.ts";
import { EXPIRY_MARGIN } from "./memory.ts";
import { alike, Line } from "./turns/line.ts";
import type { Place } from "./turns/line.ts";
import { CLAIM_TIME } from "./scheme.ts";
import type {
  Answer,
  Extension,
  GivenUp,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Release,
  Scheme,
  SchemeName,
  Selection,
  WaiterState,
} from "./scheme.ts";

/** After so long a turn hands the lock to nobody else: slow work alternates between processes. */
const TURN_TIME = 50;
/** Nor is a lease handed on of which less than this is left, as a share of its ttl. */
const FRESH = 2 / 3;
/** How soon after a question the scheme is told that the number of those at a place has changed. */
const COUNT_INTERVAL = 200;
/** So many releases are remembered that the scheme has not heard. */
const MOST_OWED = 10_000;

/** Only a wake ends this sleep: the first in line is woken to ask for all. */
const ASLEEP: Answer = { kind: "pending", pokeAfter: Infinity };

type Granted = Extract<Answer, { kind: "granted" }>;

/** A grant that goes from hand to hand. */
interface Turn {
  grant: Grant;
  readonly request: LockRequest;
  readonly startedAt: number;
  /** The scheme keeps the grant at least until then. */
  until: number;
  /** The latest wish to extend. */
  extending: Promise<Extension> | undefined;
  /** Those who hold now, by token, and how long they do without another extension. */
  readonly holders: Map<string, { readonly fence: number; until: number }>;
  /** So many may still follow. */
  left: number;
  nextFence: number;
}

export class Turns implements Scheme {
  readonly name: SchemeName;
  readonly modes: ReadonlySet<LockMode>;
  readonly queues: boolean;
  readonly proves: boolean;
  readonly #scheme: Scheme;
  readonly #clock: Clock;
  readonly #length: number;
  /** By lock: those that somebody here waits for. */
  readonly #lines = new Map<string, Line>();
  /** By the token of the grant. */
  readonly #turns = new Map<string, Turn>();
  /** By the token of the holder. */
  readonly #turnOf = new Map<string, Turn>();
  /** By the token of a holder or waiter that was the last to need it: what the scheme must hear is over. */
  readonly #owed = new Map<string, GivenUp[]>();
  #listener: PushListener | undefined;

  /** @param length how many grants a turn may have */
  constructor(scheme: Scheme, clock: Clock, length: number) {
    this.name = scheme.name;
    this.modes = scheme.modes;
    this.queues = scheme.queues ?? false;
    this.proves = scheme.proves ?? false;
    this.#scheme = scheme;
    this.#clock = clock;
    this.#length = length;
  }

  acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    if (!wait || request.alone) return this.#scheme.acquire(request, wait);
    const { lock, token } = request;
    const turn = this.#turnOf.get(token);
    if (turn) return Promise.resolve(handedOn(turn, token));
    const line = this.#lines.get(lock);
    if (!line) {
      const own = new Line(request);
      this.#lines.set(lock, own);
      return this.#ask(own, request, request);
    }
    if (!line.find(token)) {
      line.add(request);
      this.#countChanged(line);
    }
    if (line.asking) return this.#follow(line, request);
    return line.first === request ? this.#next(line, request) : this.#sleep(line, request);
  }

  async #sleep(line: Line, request: LockRequest): Promise<Answer> {
    return this.#tell(line, request);
  }

  /** A question is out already: what it meets with concerns everybody in line. */
  async #follow(line: Line, request: LockRequest): Promise<Answer> {
    do await line.asking;
    while (line.asking && line.first === request);
    return line.first === request ? this.#next(line, request) : this.#tell(line, request);
  }

  /** For those who sleep: begin with what was pushed, or ask if it is time. They are woken when there is news. */
  #advance(line: Line): void {
    if (line.first && !line.asking) this.#next(line, undefined).catch(() => {});
  }

  /** The first one begins with what was pushed, or asks when it is time. `asker` is that one if it wants an answer. */
  async #next(line: Line, asker: LockRequest | undefined): Promise<Answer> {
    const { place, first } = line;
    if (!first || line.asking) return this.#tell(line, asker);
    if (!place || !alike(place.request, first)) return this.#ask(line, first, asker);
    const now = this.#clock.now();
    if (place.pushed && now + CLAIM_TIME < place.pushed.until) {
      return this.#begin(line, place, asker, { ...place.pushed, fences: this.#length });
    }
    return now >= place.due ? this.#ask(line, first, asker) : ASLEEP;
  }

  /** How it stands with a request. */
  #tell(line: Line, request: LockRequest | undefined): Answer {
    if (!request) return ASLEEP;
    const turn = this.#turnOf.get(request.token);
    if (turn) return handedOn(turn, request.token);
    // It has left; or its turn was over before it heard of it, then it asks anew.
    if (!line.find(request.token)) return { kind: "pending", pokeAfter: 0 };
    if (line.failure !== undefined) throw line.failure;
    return ASLEEP;
  }

  #ask(line: Line, first: LockRequest, asker: LockRequest | undefined): Promise<Answer> {
    const place = this.#placeFor(line, first);
    place.askedAt = this.#clock.now();
    place.request.waiting = line.size;
    place.timer?.cancel();
    place.due = Infinity;
    const asking = this.#askFor(line, place, asker);
    line.asking = asking;
    return asking;
  }

  async #askFor(line: Line, place: Place, asker: LockRequest | undefined): Promise<Answer> {
    let answer;
    try {
      answer = await this.#scheme.acquire(place.request, true);
      if (answer.kind === "refused") throw answer.error;
    } catch (error) {
      line.asking = undefined;
      place.due = 0;
      // Those who sleep are told once, and then ask with pauses of their own, as the asker does.
      const sleepers = line.failure === undefined ? line.all : [];
      line.failure = error;
      for (const each of sleepers) if (each !== asker) this.#listener?.again(each.lock, each.token);
      throw error;
    }
    line.asking = undefined;
    line.failure = undefined;
    if (line.place !== place) this.#giveBack(place);
    else if (answer.kind === "granted") return this.#begin(line, place, asker, answer);
    else if (answer.kind === "pending") {
      this.#askWithin(line, place, answer.pokeAfter);
      if (place.request.waiting !== line.size) this.#countChanged(line);
      // A push may have come, or a turn ended, while the question was out.
      if (place.pushed || place.due === 0) this.#advance(line);
    }
    return this.#tell(line, asker);
  }

  /** A place suits those who want the same as whoever opened it. Else it is given up for one that keeps its rank. */
  #placeFor(line: Line, first: LockRequest): Place {
    const old = line.place;
    if (old && alike(old.request, first)) return old;
    if (old) {
      old.timer?.cancel();
      this.#giveBack(old);
    }
    if (old?.request.ticket !== undefined) first.ticket = old.request.ticket;
    first.fences = this.#length;
    return (line.place = {
      request: first,
      askedAt: 0,
      due: Infinity,
      timer: undefined,
      revoked: 0,
      pushed: undefined,
    });
  }

  /** The place has been granted: to those at the front of the line who want just that. */
  #begin(line: Line, place: Place, asker: LockRequest | undefined, granted: Omit<Granted, "kind">): Answer {
    const { request } = place;
    const { fence, fences = 1, until = place.askedAt + request.ttl } = granted;
    const ready = line.ready(request, fences);
    this.#leavePlace(line);
    if (ready === 0) {
      // The first in line has changed meanwhile, to one that wants something else.
      this.#giveBack(place);
      this.#advance(line);
      return this.#tell(line, asker);
    }
    const robbed = fence <= place.revoked;
    if (robbed) this.#listener?.lost(request.lock, (line.first as LockRequest).token, fence);
    if (ready === 1 && asker && line.first === asker && asker.token === request.token) {
      this.#leave(line, asker);
      this.#advance(line);
      return { kind: "granted", fence, until };
    }
    const turn = this.#newTurn(request, robbed ? 1 : ready, fence, until);
    do this.#hand(turn, line);
    while (turn.grant.mode === "shared" && turn.left > 0);
    // The next place is taken while this turn lasts.
    this.#advance(line);
    return this.#tell(line, asker);
  }

  #newTurn(request: LockRequest, left: number, fence: number, until: number): Turn {
    const now = this.#clock.now();
    this.#forgetEnded(now);
    const { lock, token, mode } = request;
    const turn: Turn = {
      grant: { lock, token, mode, fence },
      request,
      startedAt: now,
      until,
      extending: undefined,
      holders: new Map(),
      left,
      nextFence: fence,
    };
    this.#turns.set(token, turn);
    return turn;
  }

  /** Nobody stands there any more: what the latest question has won or queued since is given up. */
  #giveBack({ request }: Place): void {
    this.#scheme.release(request).catch(() => {});
  }

  #hand(turn: Turn, line: Line): void {
    const next = line.first as LockRequest;
    const fence = turn.nextFence++;
    turn.left--;
    turn.holders.set(next.token, { fence, until: turn.until });
    this.#turnOf.set(next.token, turn);
    this.#leave(line, next);
    this.#listener?.granted(next.lock, next.token, fence, turn.until);
  }

  #leave(line: Line, request: LockRequest): void {
    line.remove(request);
    const { first, place } = line;
    if (first && place && !alike(first, place.request)) this.#advance(line);
    else if (place) this.#countChanged(line);
    else if (!first && !line.asking) this.#lines.delete(request.lock);
  }

  #leavePlace(line: Line): void {
    line.place?.timer?.cancel();
    line.place = undefined;
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.#scheme.steal(request);
  }

  extend(grant: Grant, ttl: number, durability?: Wish): Promise<Extension> {
    const turn = this.#turnOf.get(grant.token);
    if (!turn) return this.#scheme.extend(grant, ttl, durability);
    turn.extending = this.#extendTurn(turn, grant.token, ttl);
    return turn.extending;
  }

  async #extendTurn(turn: Turn, token: string, ttl: number): Promise<Extension> {
    const askedAt = this.#clock.now();
    const extension = await this.#scheme.extend(turn.grant, ttl);
    if (extension !== "extended") {
      turn.left = 0;
      return extension;
    }
    turn.until = Math.max(turn.until, askedAt + ttl);
    const holder = turn.holders.get(token);
    if (holder) holder.until = Math.max(holder.until, askedAt + ttl);
    return extension;
  }

  /** What is shared is handed to nobody who wants it alone: the turn ends with its present holder. */
  async downgrade(grant: Grant): Promise<Extension> {
    const turn = this.#turnOf.get(grant.token);
    if (turn) turn.left = 0;
    const held = turn?.grant ?? grant;
    const extension = (await this.#scheme.downgrade?.(held)) ?? "gone";
    if (turn && extension === "extended") turn.grant = { ...held, mode: "shared" };
    return extension;
  }

  release(request: GivenUp): Promise<Release> {
    const { lock, token } = request;
    const owed = this.#owed.size > 0 && this.#owed.get(token);
    if (owed) return this.#settle(token, owed);
    const turn = this.#turnOf.size > 0 && this.#turnOf.get(token);
    if (turn) return this.#passOn(turn, token);
    const line = this.#lines.get(lock);
    const waiter = line?.find(token);
    if (line && waiter) return this.#withdraw(line, waiter);
    // The name is still borne by a place of others, or by their turn.
    if (line?.place?.request.token === token || this.#turns.has(token)) return Promise.resolve("gone");
    return this.#scheme.release(request);
  }

  /** The holder is done: the next one's turn, or the end of it. */
  async #passOn(turn: Turn, token: string): Promise<Release> {
    const { grant, request } = turn;
    this.#forget(turn, token);
    // A pushed grant is short until the first extension of it is answered.
    if (turn.left > 0 && !this.#isFresh(turn)) await turn.extending?.catch(() => {});
    const line = this.#lines.get(grant.lock);
    const next = line?.first;
    if (line && next && turn.left > 0 && this.#isFresh(turn) && alike(next, request)) {
      this.#hand(turn, line);
      return "released";
    }
    const now = this.#clock.now();
    for (const [other, { until }] of turn.holders) if (until <= now) this.#forget(turn, other);
    if (turn.holders.size > 0) return "released";
    this.#turns.delete(grant.token);
    const over: GivenUp[] = [grant];
    if (line) {
      line.ended = grant.token;
      // Asked in the same step, right behind the release.
      if (line.place) line.place.due = 0;
      if (line.first) this.#advance(line);
      else over.unshift(...this.#vacated(line, grant.lock));
    }
    return this.#settle(token, over);
  }

  /** With enough time left for the next holder, in the turn and of the lease. */
  #isFresh({ startedAt, until, request }: Turn): boolean {
    const now = this.#clock.now();
    return now < startedAt + TURN_TIME && now < until - request.ttl * FRESH;
  }

  /** The waiter gives up. Its place stays for those who remain. */
  async #withdraw(line: Line, waiter: LockRequest): Promise<Release> {
    this.#leave(line, waiter);
    const over = line.first ? [] : this.#vacated(line, waiter.lock);
    return over.length > 0 ? this.#settle(waiter.token, over) : "gone";
  }

  /** The place that nobody stands at any more. */
  #vacated(line: Line, lock: string): GivenUp[] {
    const { place } = line;
    if (!place) return [];
    this.#leavePlace(line);
    if (this.#lines.get(lock) === line) this.#lines.delete(lock);
    return [place.request];
  }

  /** Answers with what became of the last. All of it is owed until the scheme has heard it. */
  async #settle(token: string, over: GivenUp[]): Promise<Release> {
    if (this.#owed.size >= MOST_OWED) this.#owed.clear();
    this.#owed.set(token, over);
    const outcomes = await Promise.all(over.map((each) => this.#scheme.release(each)));
    this.#owed.delete(token);
    return outcomes.at(-1) ?? "gone";
  }

  /** The holder is done, and the lock stays held: the turn ends with it. */
  async keep(grant: Grant, ttl: number, label: string): Promise<Release> {
    const turn = this.#turnOf.get(grant.token);
    if (!turn) return this.#scheme.keep(grant, ttl, label);
    const outcome = await this.#scheme.keep(turn.grant, ttl, label);
    this.#end(turn, grant.token);
    return outcome;
  }

  detach(grant: Grant): Grant {
    const turn = this.#turnOf.get(grant.token);
    if (!turn) return this.#scheme.detach(grant);
    if (turn.holders.size > 1) {
      throw unsupported("Others of this process read under the same grant", "Use a manager with { turn: 1 }.");
    }
    this.#end(turn, grant.token);
    return this.#scheme.detach(turn.grant);
  }

  handOver(grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.#scheme.handOver(grant, heir);
  }

  /** Nobody here has to do with the grant any more. */
  #end(turn: Turn, token: string): void {
    this.#forget(turn, token);
    this.#turns.delete(turn.grant.token);
    const { lock } = turn.grant;
    const line = this.#lines.get(lock);
    if (!line || line.first) return;
    for (const over of this.#vacated(line, lock)) this.#scheme.release(over).catch(() => {});
  }

  evict(lock: string, holder: HolderState): Promise<boolean> {
    const turn = this.#turnOf.get(holder.token ?? "");
    return this.#scheme.evict(lock, turn ? { ...holder, token: turn.grant.token } : holder);
  }

  async query(selection: Selection): Promise<LockState[]> {
    const states = await this.#scheme.query(selection);
    return states.map((state) => ({
      ...state,
      holders: state.holders.flatMap((holder) => this.#holdersBehind(holder)),
      waiters: state.waiters.flatMap((waiter) => this.#waitersBehind(state.lock, waiter)),
    }));
  }

  #holdersBehind(holder: HolderState): HolderState[] {
    const holders = this.#turns.get(holder.token ?? "")?.holders;
    if (!holders || holders.size === 0) return [holder];
    return Array.from(holders, ([token, { fence }]) => ({ ...holder, token, fence }));
  }

  #waitersBehind(lock: string, waiter: WaiterState): WaiterState[] {
    const line = this.#lines.get(lock);
    if (line?.place?.request.token !== waiter.token) return [waiter];
    return line.all.map(({ token, mode, label }) => ({ token, mode, label: label || waiter.label, waiting: 1 }));
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
    this.#scheme.listen({
      granted: (lock, token, fence, until) => {
        const line = this.#lines.get(lock);
        if (line?.place?.request.token === token) {
          if (until !== undefined) line.place.pushed = { fence, until };
          this.#askSoon(line);
        } else if (!this.#turns.has(token) && line?.ended !== token) listener.granted(lock, token, fence, until);
      },
      next: (lock, token, remaining) => {
        const line = this.#lines.get(lock);
        if (line?.place?.request.token === token) this.#askWithin(line, line.place, remaining + EXPIRY_MARGIN);
        else listener.next(lock, token, remaining);
      },
      lost: (lock, token, fence) => {
        const turn = this.#turns.get(token);
        const line = this.#lines.get(lock);
        if (turn) this.#robbed(turn);
        else if (line?.place?.request.token === token) {
          line.place.revoked = Math.max(line.place.revoked, fence);
          if (line.first) listener.lost(lock, line.first.token, fence);
          this.#askSoon(line);
        } else listener.lost(lock, token, fence);
      },
      again: (lock, token) => listener.again(lock, token),
      missed: (locks) => {
        for (const [lock, { place }] of this.#lines) if (place && (!locks || locks.has(lock))) place.due = 0;
        listener.missed(locks);
      },
    });
  }

  #robbed(turn: Turn): void {
    turn.left = 0;
    for (const [token, { fence }] of turn.holders) this.#listener?.lost(turn.grant.lock, token, fence);
  }

  #askSoon(line: Line): void {
    if (line.place) line.place.due = 0;
    this.#advance(line);
  }

  #askWithin(line: Line, place: Place, delay: number): void {
    const due = this.#clock.now() + delay;
    if (due >= place.due) return;
    place.due = due;
    place.timer?.cancel();
    place.timer = this.#clock.after(delay, () => {
      place.due = 0;
      if (line.first) return this.#advance(line);
      // All who stood there have been served: it would only be in the way of others.
      this.#vacated(line, place.request.lock);
      this.#giveBack(place);
    });
  }

  /** Those who look from outside learn it with the next question, which is asked earlier for that. */
  #countChanged(line: Line): void {
    const { place } = line;
    if (!place || line.asking) return;
    this.#askWithin(line, place, Math.max(0, place.askedAt + COUNT_INTERVAL - this.#clock.now()));
  }

  /** A holder that lost its lease may never release it. */
  #forgetEnded(now: number): void {
    for (const turn of this.#turns.values()) {
      if (turn.until + EXPIRY_MARGIN > now) return;
      this.#turns.delete(turn.grant.token);
      for (const token of turn.holders.keys()) this.#forget(turn, token);
    }
  }

  #forget(turn: Turn, token: string): void {
    turn.holders.delete(token);
    this.#turnOf.delete(token);
  }

  close(): Promise<void> {
    return this.#scheme.close();
  }
}

/** What a holder is told of the grant it was handed, when it hears of it. */
function handedOn(turn: Turn, token: string): Answer {
  const holder = turn.holders.get(token) as { fence: number; until: number };
  holder.until = turn.until;
  return { kind: "granted", fence: holder.fence, until: turn.until };
}
