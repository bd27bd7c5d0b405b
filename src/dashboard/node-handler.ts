/** Translates Node's requests and responses to those of the web, for servers that know only the former. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as WebStream } from "node:stream/web";

/** @param next gets the error of `fetch`; without it, the viewer gets 500 and the process a warning */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse, next?: (error: unknown) => void) => void;

/**
 * A handler for `node:http`, Express, Fastify and all that pass on Node's own objects. Mount it before body parsers.
 *
 * @param app answers requests, as a dashboard does
 */
export function nodeHandler(app: { fetch(request: Request): Promise<Response> }): NodeHandler {
  return (incoming, outgoing, next) => {
    answer(app, incoming, outgoing).catch((error: unknown) => {
      // oxlint-disable-next-line promise/no-callback-in-promise -- Express has no other way
      if (next && !outgoing.headersSent) return next(error);
      // Viewers must not see the errors of a program's own `authorize`.
      process.emitWarning(error instanceof Error ? error : String(error));
      if (outgoing.headersSent) outgoing.destroy();
      else
        outgoing.writeHead(500, { "content-type": "text/plain" }).end("The dashboard failed. See the server's log.\n");
    });
  };
}

async function answer(
  app: { fetch(request: Request): Promise<Response> },
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  const request = webRequest(incoming, gone.signal);
  if (!request) {
    outgoing.writeHead(400, { "content-type": "text/plain" }).end("Expected a valid path and Host header.\n");
    return;
  }
  const { status, headers, body } = await app.fetch(request);
  outgoing.writeHead(status, Object.fromEntries(headers));
  if (!body) {
    outgoing.end();
    return;
  }
  outgoing.flushHeaders();
  try {
    await pipeline(Readable.fromWeb(body as WebStream<Uint8Array>), outgoing);
  } catch (error) {
    // Viewers go; that is how their events end.
    if (!gone.signal.aborted) throw error;
  }
}

/** @returns undefined if the request names nothing that a URL can hold */
function webRequest(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  // Express and Connect take away the part of the path at which they mount.
  const { originalUrl, url = "/" } = incoming as IncomingMessage & { originalUrl?: string };
  const protocol = "encrypted" in incoming.socket ? "https" : "http";
  const address = `${protocol}://${incoming.headers.host ?? "localhost"}${originalUrl ?? url}`;
  if (!URL.canParse(address)) return undefined;
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (!name.startsWith(":")) for (const each of [value ?? []].flat()) headers.append(name, each);
  }
  const { method = "GET" } = incoming;
  const hasBody = method !== "GET" && method !== "HEAD";
  const body = hasBody ? (Readable.toWeb(incoming) as ReadableStream<Uint8Array>) : null;
  return new Request(address, { method, headers, body, signal, duplex: "half" });
}
