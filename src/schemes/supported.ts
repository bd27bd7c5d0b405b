import { notOverNodes, unsupported } from "../errors.ts";
import { refuseDurability } from "../options/durability.ts";
import type { Terms } from "../options/request.ts";
import type { Scheme } from "./scheme.ts";

/** Refuses what the scheme does not have, before anything is sent. */
export function assertSupported({ name, modes, queues, hasSemaphores, proves }: Scheme, terms: Terms): void {
  const { mode, permits, maxQueue, durability } = terms;
  if (!proves) refuseDurability(name, durability);
  const missing =
    permits !== undefined && !hasSemaphores
      ? "semaphores"
      : !modes.has(mode)
        ? `${mode} locks`
        : maxQueue !== undefined && !queues
          ? "queue, so no maxQueue"
          : undefined;
  if (missing) throw unsupported(`The scheme "${name}" has no ${missing}`, 'Use the scheme "lua".');
}

/** Refuses to share values if the scheme keeps none. */
export function assertShares(scheme: Scheme): asserts scheme is Scheme & Required<Pick<Scheme, "share" | "recall">> {
  const { name } = scheme;
  if (scheme.share && scheme.recall) return;
  if (name === "redlock") throw notOverNodes("share a value");
  throw unsupported(`The scheme "${name}" cannot share a value`, 'Use the scheme "lua".');
}
