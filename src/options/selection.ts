import type { Selection } from "../schemes/scheme.ts";
import { show } from "./checks.ts";
import { checkName } from "./request.ts";

/** @throws TypeError for anything that is no list of tokens, in which undefined stands for a foreign holder */
export function checkTokens(expected: unknown): readonly (string | undefined)[] | undefined {
  if (expected === undefined) return undefined;
  if (Array.isArray(expected) && expected.every((each) => each === undefined || typeof each === "string")) {
    return expected as (string | undefined)[];
  }
  throw new TypeError(`Expected an array of the tokens that query() reported; got ${show(expected)}.`);
}

/** @throws TypeError for anything that selects no locks */
export function checkSelection(selection: unknown): Selection {
  if (selection === "all") return selection;
  const { name, match } = (typeof selection === "object" && selection !== null ? selection : {}) as Record<
    string,
    unknown
  >;
  if (name !== undefined && match === undefined) return { name: checkName(name) };
  if (typeof match === "string" && name === undefined) return { match };
  throw new TypeError(
    `Expected a selection of locks: { name: "…" }, { match: "a*" } or "all"; got ${show(selection)}.`,
  );
}
