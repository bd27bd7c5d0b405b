/** Whether a request that changes something comes from the page itself. */
import type { ReleaseOrder } from "./view.ts";

/**
 * Another site that the viewer has open could post a form here, with the viewer's cookies. Browsers say where a request
 * comes from: in Sec-Fetch-Site, or (on plain HTTP) in Origin.
 */
export function isSameOrigin({ headers, url }: Request): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  const origin = headers.get("origin");
  if (origin === null || !URL.canParse(origin)) return false;
  return new URL(origin).host === (headers.get("host") ?? new URL(url).host);
}

const LONGEST_BODY = 100_000;

/** @returns undefined if the body is no such order */
export async function orderIn(request: Request): Promise<ReleaseOrder | undefined> {
  const text = await bounded(request);
  try {
    const { name, tokens } = JSON.parse(text) as Partial<Record<"name" | "tokens", unknown>>;
    if (typeof name !== "string" || !Array.isArray(tokens) || tokens.length === 0) return undefined;
    return tokens.every((each) => each === null || typeof each === "string") ? { name, tokens } : undefined;
  } catch {
    return undefined;
  }
}

/** The body; empty, which is no JSON, if it is too long. */
async function bounded({ body }: Request): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > LONGEST_BODY) return "";
  }
  return text;
}
