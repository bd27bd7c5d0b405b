/** What one node answers to a holder, as votes. */
import type { Caller } from "../../caller.ts";
import { SchemeError } from "../../errors.ts";
import { TOKEN } from "../scheme.ts";
import type { Release } from "../scheme.ts";
import type { Node } from "./node.ts";
import { failing } from "./poll.ts";
import type { Heard, Vote } from "./poll.ts";
import { judgeRelease } from "./verdict.ts";

/** What a node says to a holder that asks for more time. */
export function readRenewal(node: Node, reply: unknown): Vote {
  if (Number(reply) === 1) return { kind: "yes" };
  if (Number(reply) === 2) {
    node.forgot();
    const cause = new SchemeError("server", "It has forgotten its mark, and perhaps leases.", [], true);
    return { kind: "failed", cause };
  }
  return { kind: "no", holder: typeof reply === "string" && TOKEN.test(reply) ? reply : "" };
}

/** Hears what a node says of a token that leaves it: whether it held there; unsure if it may have been told before. */
export function leaving(node: Node, heard: Heard): Caller<unknown> {
  const { drops } = node.driver;
  return {
    answered: (reply) => {
      if (Number(reply) === 1) heard({ kind: "yes" });
      else heard({ kind: drops === node.driver.drops ? "no" : "unsure", holder: "" });
    },
    failed: failing(heard),
  };
}

/** What the nodes say together of a token that leaves them. */
export function judgeLeaving(said: readonly Vote[], asked: number, nodes: number): Release | undefined {
  const outcome = judgeRelease(said, asked, nodes);
  return outcome === "no-quorum" ? undefined : outcome;
}
