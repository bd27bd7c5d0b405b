/** `holdfast explain`: what docs/troubleshooting.md says about an error's code. Needs no server. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { Argument } from "commander";
import { CODES } from "./failures.ts";
import { print } from "./messages.ts";
import { wrapped } from "./wrapped.ts";

const HELP = `
Examples:
  holdfast explain lost    what it means, and what to do
  holdfast explain         the codes`;

/** Declares the command. */
export function addExplain(program: Command): void {
  program
    .command("explain")
    .summary("explain an error by its code")
    .description("Explain an error: what it means and what to do. Without a code, list the codes.")
    .usage("[CODE]")
    .addArgument(new Argument("[code]").choices(CODES))
    .addHelpText("after", HELP)
    .action((code: string | undefined) => print(code === undefined ? listed() : explained(code)));
}

function page(): string {
  return readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
}

/** The text under a code's heading. */
function sectionOf(text: string, code: string): string {
  const [, section = ""] = text.split(`\n### ${code}\n`);
  return section.split(/^#/m, 1)[0]?.trim() ?? "";
}

function explained(code: string): string {
  const blocks = sectionOf(page(), code).split(/\n\n+/).map(shown);
  return [code, ...blocks, `holdfast/docs/troubleshooting.md#${code}`].join("\n\n");
}

function listed(): string {
  const text = page();
  const indent = Math.max(...CODES.map(({ length }) => length)) + 2;
  return CODES.map((code) => {
    const [sentence = ""] = inWords(sectionOf(text, code)).split(/(?<=\.) |\n/, 1);
    return `${code.padEnd(indent)}${wrapped(sentence.replace(/^`\w+`: /, ""), indent)}`;
  }).join("\n");
}

/** A paragraph, a list, a table or code, as a terminal shows it. */
function shown(block: string): string {
  if (block.startsWith("```")) return block.replace(/^```.*\n?/gm, "").trimEnd();
  if (block.startsWith("|")) return block.split("\n").slice(2).map(row).join("\n");
  const items = block.split(/^(?=- )/m).map((item) => wrapped(inWords(item).replaceAll("\n", " ").trim(), 0));
  return items.join("\n");
}

/** Its first cell, and the others below it. */
function row(line: string): string {
  const [first = "", ...rest] = line.split("|").slice(1, -1);
  const cells = rest.map((cell) => `    ${wrapped(inWords(cell.trim()), 4)}`);
  return [`  ${inWords(first.trim())}`, ...cells].join("\n");
}

/** Links are followed by where they lead. */
function inWords(text: string): string {
  return text.replaceAll("**", "").replace(/\[([^\]]+)\]\(([^)]+)\)/g, (_, label: string, target: string) => {
    if (/^https?:/.test(target)) return `${label} (${target})`;
    if (target.startsWith("#")) return `${label} (holdfast/docs/troubleshooting.md${target})`;
    return `${label} (${target.startsWith("../") ? `holdfast/${target.slice(3)}` : `holdfast/docs/${target}`})`;
  });
}
