/** What becomes of grants and extensions that are not as durable as was wished. */
import { meets } from "../durability.ts";
import type { Durability, Wish } from "../durability.ts";
import { DurabilityError, SchemeError } from "../errors.ts";
import type { Answer, LockRequest, Scheme } from "./scheme.ts";

/**
 * A grant that is not as durable as was wished is given back before anybody is told of it. The server may have to be
 * told again, which is for whoever asked.
 */
export async function assureGrant(
  { lock, token }: Pick<LockRequest, "lock" | "token">,
  wish: Wish,
  asked: Promise<Answer>,
  release: Scheme["release"],
): Promise<Answer> {
  try {
    const answer = await asked;
    if (answer.kind !== "granted" || meets(answer.durability, wish)) return answer;
    throw new DurabilityError(lock, "grant", wish, answer.durability);
  } catch (error) {
    // What may come right is asked again, under the same token.
    if (error instanceof SchemeError && !error.transient) await release({ lock, token }).catch(() => {});
    throw error;
  }
}

/** @throws DurabilityError for an extension that too few have */
export function assureExtension(lock: string, wish: Wish, reached: Durability | undefined): void {
  if (!meets(reached, wish)) throw new DurabilityError(lock, "extend", wish, reached);
}
