/** Answers the requests of the page. */
import { systemClock } from "../clock.ts";
import { LockError } from "../errors.ts";
import { Observer } from "../observation/observer.ts";
import type { CheckedDashboard } from "../options/dashboard.ts";
import type { LockInfo, LockManagerSnapshot } from "../snapshot.ts";
import { CONTENT_SECURITY_POLICY, documentOf } from "./document.ts";
import { questionIn } from "./question.ts";
import { isSameOrigin, orderIn } from "./requests.ts";
import { streamOf } from "./stream.ts";
import { Views } from "./views.ts";

/** What a dashboard uses of a LockManager. */
export interface Manager {
  query(): Promise<LockManagerSnapshot>;
  forceRelease(name: string, expected?: readonly (string | undefined)[]): Promise<LockInfo[]>;
}

/** Each viewer costs a connection and some work per look. */
const MOST_VIEWERS = 200;

const HEADERS = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/**
 * The last part of the path names the request, so that a dashboard works under every path, also behind
 * routers and proxies that take a part of it away.
 */
export class Dashboard {
  readonly #locks: Manager;
  readonly #settings: CheckedDashboard;
  readonly #observer: Observer;
  readonly #views: Views;
  readonly #document: string;
  #viewers = 0;

  constructor(locks: Manager, settings: CheckedDashboard) {
    this.#locks = locks;
    this.#settings = settings;
    this.#observer = new Observer(locks, { ...settings, always: true }, systemClock);
    this.#views = new Views(this.#observer, () => systemClock.now());
    this.#document = documentOf(settings);
  }

  /**
   * Answers a request: for the page, for its events, or to free a lock. Rejects only with what `authorize`
   * throws.
   */
  async fetch(request: Request): Promise<Response> {
    const { authorize } = this.#settings;
    // Only true allows: a function in JavaScript may forget to return anything.
    const allowed: unknown = authorize ? await authorize(request) : true;
    if (allowed instanceof Response) return allowed;
    if (allowed !== true) return refusal(403, "You are not allowed to see this page.");
    const { pathname, searchParams } = new URL(request.url);
    const part = pathname.slice(pathname.lastIndexOf("/") + 1);
    if (part === "release") return this.#release(request);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return refusal(405, `Expected GET; got ${request.method}.`, { allow: "GET, HEAD" });
    }
    if (part === "events") return this.#events(searchParams, request);
    if (part === "history") return this.#history(searchParams);
    const headers = { "content-type": "text/html; charset=utf-8", "content-security-policy": CONTENT_SECURITY_POLICY };
    return new Response(this.#document, { headers: { ...HEADERS, ...headers } });
  }

  /** Stop looking at the server, and end the events of all viewers. */
  close(): void {
    this.#observer.close();
  }

  #events(query: URLSearchParams, { method, signal }: Request): Response {
    if (this.#observer.isClosed) return refusal(503, "The dashboard, or its LockManager, has been closed.");
    if (this.#viewers >= MOST_VIEWERS) return refusal(503, `Expected at most ${MOST_VIEWERS} viewers at a time.`);
    const headers = { ...HEADERS, "content-type": "text/event-stream", "x-accel-buffering": "no" };
    if (method === "HEAD") return new Response(null, { headers });
    this.#viewers++;
    const ended = (): void => void this.#viewers--;
    return new Response(streamOf(this.#observer, this.#views, questionIn(query), signal, ended), { headers });
  }

  #history(query: URLSearchParams): Response {
    const { recent, minutes } = this.#observer.history.series;
    return Response.json(query.get("range") === "minutes" ? { minutes } : { recent }, { headers: HEADERS });
  }

  async #release(request: Request): Promise<Response> {
    if (request.method !== "POST") return refusal(405, `Expected POST; got ${request.method}.`, { allow: "POST" });
    if (this.#settings.readOnly) {
      return refusal(403, "This dashboard only shows locks. To allow more, make it with readOnly: false.");
    }
    if (!isSameOrigin(request)) return refusal(403, "Expected a request of this page; got one of another site.");
    const order = await orderIn(request);
    if (!order) return refusal(400, 'Expected JSON {"name": string, "tokens": [string or null]}; got something else.');
    try {
      const tokens = order.tokens.map((each) => each ?? undefined);
      const freed = await this.#locks.forceRelease(order.name, tokens);
      await this.#observer.look();
      return Response.json({ freed: freed.map(({ label }) => label) }, { headers: HEADERS });
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) return refusal(400, error.message);
      if (error instanceof LockError) return refusal(503, error.message);
      throw error;
    }
  }
}

function refusal(status: number, message: string, headers: Record<string, string> = {}): Response {
  return new Response(`${message}\n`, {
    status,
    headers: { ...HEADERS, "content-type": "text/plain; charset=utf-8", ...headers },
  });
}
