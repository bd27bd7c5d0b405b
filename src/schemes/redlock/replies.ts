/** What one node answers to a holder that asks for more time, as a vote. */
import { SchemeError } from "../../errors.ts";
import { TOKEN } from "../scheme.ts";
import type { Node } from "./node.ts";
import type { Vote } from "./poll.ts";

export function readRenewal(node: Node, reply: unknown): Vote {
  if (Number(reply) === 1) return { kind: "yes" };
  if (Number(reply) === 2) {
    node.forgot();
    const cause = new SchemeError("server", "It has forgotten its mark, and perhaps leases.", [], true);
    return { kind: "failed", cause };
  }
  return { kind: "no", holder: typeof reply === "string" && TOKEN.test(reply) ? reply : "" };
}
