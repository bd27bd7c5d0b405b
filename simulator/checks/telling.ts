import type { Executed } from "../server/server.ts";
import type { History } from "./history.ts";

/** How a history names what is long: scripts, and the ids of clients. */
export interface Names {
  /** The name of the script that a command runs, if it does. */
  scriptOf(command: readonly string[]): string | undefined;
  alias(text: string): string;
}

/** Put into the history what a server was told, and what it said. @returns the commands' names */
export function tell(history: History, names: Names, executed: Executed): string[] {
  const { server, session, commands, replies, published } = executed;
  const called = commands.map((command) => names.scriptOf(command) ?? command[0] ?? "");
  for (const [i, command] of commands.entries()) {
    const reply = replies[i];
    history.add(session.client, () => {
      const words = called[i] === command[0] ? command.slice(1) : command.slice(3).filter(isTelling);
      const answer = reply instanceof Error ? reply.message : JSON.stringify(reply);
      return names.alias(`${server.told}${called[i]} ${words.join(" ")} → ${answer}`);
    });
  }
  for (const { text } of published) history.add(server.name, () => `publishes ${names.alias(text)}`);
  return called;
}

/** The other keys of a lock say no more than its own, nor do the marks of nodes. */
function isTelling(word: string): boolean {
  return !/^(\{.*\}:\w+|.*::node|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.test(word);
}
