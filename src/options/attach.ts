import { TOKEN } from "../schemes/scheme.ts";
import { dictionary, duration, onlyAmong, SHORTEST_TTL, show } from "./checks.ts";
import { checkRequest } from "./request.ts";
import type { CheckedRequest, Defaults, LockOptions } from "./request.ts";

/** Settings of `attach()`. Durations are in milliseconds. */
export type AttachOptions = Pick<LockOptions, "ttl" | "renew" | "maxHold" | "label" | "durability">;

const ATTACH_OPTIONS = new Set(["ttl", "renew", "maxHold", "label", "durability"]);

/** @throws what `checkRequest` throws, and TypeError for what `detach()` did not give */
export function checkAttach(
  detached: unknown,
  options: unknown,
  { durability }: Omit<Defaults, "ttl">,
): CheckedRequest {
  const { name, mode, token, fence, ttl } = dictionary(detached, "the detached lock");
  onlyAmong(dictionary(options, "options"), ATTACH_OPTIONS);
  if (typeof token !== "string" || !TOKEN.test(token) || !Number.isSafeInteger(fence)) {
    throw new TypeError(`Expected a detached lock with token and fence, as detach() gives it; got ${show(detached)}.`);
  }
  const own = duration(ttl, "the detached lock's ttl", SHORTEST_TTL) ?? SHORTEST_TTL;
  const defaults = { ttl: own, durability };
  const request = checkRequest(name, { ...dictionary(options, "options"), mode }, defaults, "tryAcquire");
  return { ...request, from: { lock: request.lock, token, mode: request.mode, fence: fence as number } };
}
