/** What the account may not do, with the ACL line that grants it; commands that the server does not have at all. */
import type { Check, Problem } from "../finding.ts";
import type { Refusal } from "../facts/rights.ts";

export const rights: Check = {
  name: "rights",
  each({ refused, user }, { scheme }) {
    const denied = refused.filter(({ rule }) => rule !== undefined);
    const unknown = refused.filter(({ rule }) => rule === undefined);
    return [
      ...(unknown.length > 0 ? [missing(unknown, scheme)] : []),
      ...(denied.length > 0 ? [denial(denied, user)] : []),
    ];
  },
};

function denial(refusals: readonly Refusal[], user: string): Problem {
  const commands = [...new Set(refusals.map(({ command }) => command))];
  const rules = [...new Set(refusals.map(({ rule }) => rule))].join(" ");
  return {
    severity: "critical",
    problem: "The account lacks rights that locks need",
    evidence: `the server refuses the user ${JSON.stringify(user)} ${commands.join(", ")} (${refusals[0]?.said})`,
    remedy: `As an administrator: ACL SETUSER ${user} ${rules}`,
  };
}

function missing(refusals: readonly Refusal[], scheme: string): Problem {
  const commands = refusals.map(({ command }) => command).join(", ");
  const noScripts = refusals.some(({ command }) => command.startsWith("EVAL"));
  return {
    severity: "critical",
    problem: `The server lacks commands that scheme ${scheme} needs`,
    evidence: `${commands} (${refusals[0]?.said})`,
    remedy:
      noScripts && scheme === "lua"
        ? 'Allow scripts on the server, or use { scheme: "set" } (--scheme set), which needs none'
        : "It may be a proxy or a service that renames commands. Connect to a Redis or Valkey server itself",
  };
}
