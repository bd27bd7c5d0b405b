/**
 * What holdfast reports on `node:diagnostics_channel`; docs/observability.md describes each event. If nobody listens,
 * it costs nothing: no message is made before a channel is known to have a subscriber.
 */
import { ContextOfNow } from "./async-context.ts";
import { LockError, LockTimeoutError } from "./errors.ts";
import type { LossReason } from "./errors.ts";
import { isTraced } from "./request-trace.ts";
import { builtin } from "./runtime.ts";
import type { Grant, HolderState, LockMode, LockState, SchemeName } from "./schemes/scheme.ts";

/** The manager that an event comes from. */
export interface Origin {
  readonly scheme: SchemeName;
  readonly prefix: string;
  /** The request's label, or its manager's. */
  readonly label: string;
}

/** What every event says. */
export interface LockEvent extends Origin {
  /** The lock's name. */
  readonly name: string;
}

/** An event of a request that holds nothing. */
export interface RequestEvent extends LockEvent {
  readonly mode: LockMode;
  /** Set for permits of a semaphore. */
  readonly permits: number | undefined;
}

/** How a wait ended. */
export interface WaitEnd {
  /** Milliseconds since the request was made. */
  readonly waited: number;
  /** A `queued` event was published for the request, which ends with this event. */
  readonly wasQueued: boolean;
}

/** An event of a grant. */
export interface GrantEvent extends RequestEvent {
  readonly token: string;
  readonly fence: number;
}

/** How a hold ended. */
export interface HoldEnd {
  /** Milliseconds since the grant; undefined if nobody listened to any event when the lock was requested. */
  readonly held: number | undefined;
}

/** The outcome of a request. `busy`: it was a try, and somebody else holds the lock. */
export type RequestOutcome = "granted" | "busy" | "timeout" | "aborted" | "failed";

/**
 * The message of the tracing channel `holdfast:request`: the same object for a request's start and end. What the
 * start does not know is undefined until then.
 */
export interface RequestTrace extends RequestEvent {
  /** How many requests of this process were already waiting for the lock when this one was made. */
  readonly ahead: number;
  /**
   * Its position when it began to wait: 1 for the first in the queue. Undefined if it did not wait, or if it is
   * unknown.
   */
  position: number | undefined;
  /** Milliseconds from the request to its end. */
  waited: number | undefined;
  outcome: RequestOutcome | undefined;
  /** The grant's, if it was granted. */
  token: string | undefined;
  fence: number | undefined;
  /** What the request rejects with. */
  error: unknown;
}

/** The messages by channel. */
export interface LockEvents {
  "holdfast:queued": RequestEvent & {
    /** 1 for the first in the queue; undefined if it is not known. */
    readonly position: number | undefined;
  };
  "holdfast:granted": GrantEvent & WaitEnd & Pick<Grant, "durability">;
  "holdfast:timeout": RequestEvent & WaitEnd;
  "holdfast:aborted": RequestEvent & WaitEnd & { readonly error: unknown };
  "holdfast:failed": RequestEvent & WaitEnd & { readonly error: unknown };
  "holdfast:renewed": GrantEvent & {
    /** Milliseconds until the lease ends, by this process's clock. */
    readonly remaining: number;
  };
  "holdfast:released": GrantEvent & HoldEnd;
  "holdfast:detached": GrantEvent & HoldEnd;
  "holdfast:lost": GrantEvent &
    HoldEnd & {
      readonly reason: LossReason;
      /**
       * How long the event loop was blocked, in milliseconds, if that is why the lease could not be renewed in time.
       */
      readonly blocked: number | undefined;
    };
  "holdfast:trouble": LockEvent & {
    readonly token: string;
    /** `examine`: it concerns the server and all locks there, so `name` and `token` are empty. */
    readonly operation: "acquire" | "renew" | "release" | "examine";
    readonly error: unknown;
    /** The error's `code`, if it is one of ours. */
    readonly code: string | undefined;
  };
  "holdfast:elected": LockEvent & { readonly token: string; readonly fence: number };
  "holdfast:resigned": LockEvent & { readonly token: string; readonly fence: number };
  "holdfast:forced": Omit<RequestEvent, "mode"> & {
    readonly mode: LockMode | undefined;
    readonly token: string | undefined;
    readonly fence: number | undefined;
    /** The label of the manager, or of the request with `steal`, that took the lock away. */
    readonly by: string;
  };
}

/** The async context of a request, in which its listeners are called, and what its events must remember. */
export class RequestContext extends ContextOfNow {
  wasQueued = false;
  grantedAt: number | undefined;
  trace: RequestTrace | undefined;
  /** It has begun to wait, according to the trace. */
  hasPosition = false;

  constructor() {
    super("holdfast");
  }
}

/** Undefined if a request has no context, because nobody listens. */
export type Context = RequestContext | undefined;

/** The context that the caller runs in now. */
export function currentContext(): RequestContext {
  return new RequestContext();
}

export function inContext(context: Context, run: () => void): void {
  if (context) context.runInAsyncScope(run);
  else run();
}

/** What events show of a request. The last two properties are read only if somebody listens. */
interface Asking {
  readonly lock: string;
  readonly terms: {
    readonly mode: LockMode;
    readonly permits: number | undefined;
    readonly signal?: AbortSignal | undefined;
  };
  readonly context: Context;
  readonly origin: Origin;
  readonly waited: number;
}

/** What events show of a lease. The last two properties are read only if somebody listens. */
interface Holding {
  readonly grant: Grant;
  readonly context: Context;
  readonly origin: Origin;
  readonly heldFor: number | undefined;
}

interface Target<Message> {
  readonly hasSubscribers: boolean;
  publish(message: Message): void;
}

const channels = builtin("node:diagnostics_channel");
/** For runtimes without channels. */
const UNHEARD: Target<unknown> = { hasSubscribers: false, publish() {} };

function typed<Name extends keyof LockEvents>(name: Name): Target<LockEvents[Name]> {
  return channels?.channel(name) ?? UNHEARD;
}

const queued = typed("holdfast:queued");
const granted = typed("holdfast:granted");
const timeout = typed("holdfast:timeout");
const aborted = typed("holdfast:aborted");
const failed = typed("holdfast:failed");
const renewed = typed("holdfast:renewed");
const released = typed("holdfast:released");
const detached = typed("holdfast:detached");
const lost = typed("holdfast:lost");
const trouble = typed("holdfast:trouble");
const elected = typed("holdfast:elected");
const resigned = typed("holdfast:resigned");
const forced = typed("holdfast:forced");

const ofRequests = [queued, granted, timeout, aborted, failed, renewed, released, detached, lost, trouble];

/** Whether anybody listens, so that requests must remember their contexts. */
export function isHeard(): boolean {
  if (isTraced()) return true;
  for (let i = 0; i < ofRequests.length; i++) if (ofRequests[i]!.hasSubscribers) return true;
  return false;
}

export const events = {
  get isQueueHeard(): boolean {
    return queued.hasSubscribers || isTraced();
  },

  queued(request: Asking, position: number | undefined): void {
    const { context } = request;
    if (context?.trace && !context.hasPosition) {
      context.hasPosition = true;
      context.trace.position = position;
    }
    if (!context || context.wasQueued || !queued.hasSubscribers) return;
    context.wasQueued = true;
    publish(queued, { ...aboutRequest(request), position }, context);
  },

  granted(holding: Holding, request: Asking): void {
    complete(request, "granted", holding.grant);
    if (!granted.hasSubscribers) return;
    const { durability } = holding.grant;
    publish(granted, { ...aboutGrant(holding), ...waitOf(request), durability }, request.context);
  },

  /** A try found the lock busy. */
  busy(request: Asking): void {
    complete(request, "busy");
  },

  /** A request ended without a grant. */
  ended(request: Asking, error: unknown): void {
    const { terms, context } = request;
    if (error instanceof LockTimeoutError) {
      complete(request, "timeout");
      if (timeout.hasSubscribers) publish(timeout, { ...aboutRequest(request), ...waitOf(request) }, context);
      return;
    }
    const isAborted = terms.signal?.aborted && terms.signal.reason === error;
    complete(request, isAborted ? "aborted" : "failed");
    const end = isAborted ? aborted : failed;
    if (end.hasSubscribers) publish(end, { ...aboutRequest(request), ...waitOf(request), error }, context);
  },

  renewed(holding: Holding & { readonly remaining: number }): void {
    if (!renewed.hasSubscribers) return;
    publish(renewed, { ...aboutGrant(holding), remaining: holding.remaining }, holding.context);
  },

  released(holding: Holding): void {
    if (released.hasSubscribers) publish(released, endOf(holding), holding.context);
  },

  detached(holding: Holding): void {
    if (detached.hasSubscribers) publish(detached, endOf(holding), holding.context);
  },

  lost(holding: Holding, reason: LossReason, blocked: number | undefined): void {
    if (lost.hasSubscribers) publish(lost, { ...endOf(holding), reason, blocked }, holding.context);
  },

  get isTroubleHeard(): boolean {
    return trouble.hasSubscribers;
  },

  /** A call to the server failed; holdfast continues by itself. */
  trouble(
    operation: LockEvents["holdfast:trouble"]["operation"],
    error: unknown,
    { lock, token }: { readonly lock: string; readonly token: string },
    from: { readonly origin: Origin },
    context: Context,
  ): void {
    if (!trouble.hasSubscribers) return;
    const code = error instanceof LockError ? error.code : undefined;
    publish(trouble, { name: lock, token, ...from.origin, operation, error, code }, context);
  },

  elected(term: { readonly name: string; readonly token: string; readonly fence: number }, origin: Origin): void {
    if (elected.hasSubscribers) publish(elected, aboutTerm(term, origin), undefined);
  },

  resigned(term: { readonly name: string; readonly token: string; readonly fence: number }, origin: Origin): void {
    if (resigned.hasSubscribers) publish(resigned, aboutTerm(term, origin), undefined);
  },

  /**
   * @param origin the manager that took the lock away by `forceRelease`, or by a request with `steal` in that context
   */
  forced(
    { lock, mode }: Pick<LockState, "lock" | "mode">,
    holder: Pick<HolderState, "permits" | "token" | "fence" | "label">,
    origin: Origin,
    context: Context,
  ): void {
    if (!forced.hasSubscribers) return;
    const { permits, token, fence, label } = holder;
    publish(forced, { name: lock, mode, permits, token, fence, ...origin, label, by: origin.label }, context);
  },
};

function publish<Message>(target: Target<Message>, message: NoInfer<Message>, context: Context): void {
  inContext(context, () => target.publish(message));
}

function aboutRequest({ lock, terms, origin }: Asking): RequestEvent {
  return { name: lock, mode: terms.mode, permits: terms.permits, ...origin };
}

/** What the trace of a request knows only at its end. */
function complete(request: Asking, outcome: RequestOutcome, grant?: Grant): void {
  const trace = request.context?.trace;
  if (trace) Object.assign(trace, { waited: request.waited, outcome, token: grant?.token, fence: grant?.fence });
}

function waitOf({ waited, context }: Asking): WaitEnd {
  return { waited, wasQueued: context?.wasQueued ?? false };
}

function aboutGrant({ grant: { lock, mode, permits, token, fence }, origin }: Holding): GrantEvent {
  return { name: lock, mode, permits, token, fence, ...origin };
}

function endOf(holding: Holding): GrantEvent & HoldEnd {
  return { ...aboutGrant(holding), held: holding.heldFor };
}

function aboutTerm(
  term: { readonly name: string; readonly token: string; readonly fence: number },
  origin: Origin,
): LockEvents["holdfast:elected"] {
  return { name: term.name, token: term.token, fence: term.fence, ...origin };
}
