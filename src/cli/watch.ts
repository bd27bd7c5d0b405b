/** `holdfast watch`: what `ls` lists, live. */
import type { Command } from "commander";
import { Option } from "commander";
import { SHORTEST_POLL } from "../options/dashboard.ts";
import { parseDurationFrom } from "./durations.ts";
import { addConnectionOptions } from "./options.ts";
import type { ConnectionOptions } from "./options.ts";

export interface WatchOptions extends ConnectionOptions {
  readonly interval: number;
}

const HELP = `
Keys:
  / filter   s sort   v which locks   up, down   Enter one lock and its queue
  f free a lock (you type its name)   Esc back   q quit

If stdin or stdout is not a terminal, or TERM is "dumb", it prints a line for
each change instead. NO_COLOR turns colors off.`;

/** Declares the command. What draws is loaded when it runs. */
export function addWatch(program: Command, action: (status: number) => void): void {
  const command = program
    .command("watch")
    .summary("watch who holds locks and who waits, live")
    .description(
      "Show who holds which lock, who waits and what is stuck, until you quit.\nPATTERN is a glob; quote it.",
    )
    .usage("[PATTERN] [options]")
    .argument("[pattern]")
    .addOption(
      new Option("--interval <time>", "time between two looks at the server")
        .default(1_000, "1s")
        .argParser(parseDurationFrom(SHORTEST_POLL)),
    );
  addConnectionOptions(command).addHelpText("after", HELP);
  command.action(async (pattern: string | undefined, options: WatchOptions) => {
    const { watch } = await import("./watch/watch.ts");
    action(await watch(pattern, options));
  });
}
