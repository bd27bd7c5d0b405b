/** Grants and extensions that are not as durable as was required. */
import { meets } from "../durability.ts";
import type { Durability, Wish } from "../durability.ts";
import { DurabilityError } from "../errors.ts";
import type { Answer, LockRequest } from "./scheme.ts";

/** @throws DurabilityError for a grant that too few have stored; the caller releases it before it is reported */
export function assureGrant({ lock, durability }: LockRequest, answer: Answer): Answer {
  if (!durability || answer.kind !== "granted" || meets(answer.durability, durability)) return answer;
  throw new DurabilityError(lock, "grant", durability, answer.durability);
}

/** @throws DurabilityError for an extension that too few have stored */
export function assureExtension(lock: string, wish: Wish, reached: Durability | undefined): void {
  if (!meets(reached, wish)) throw new DurabilityError(lock, "extend", wish, reached);
}
