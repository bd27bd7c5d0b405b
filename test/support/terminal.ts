import { createRequire } from "node:module";
import type { Terminal as Xterm } from "@xterm/headless";
import type { CommandLine, Run } from "./cli.ts";
import { built } from "./cli.ts";
import { until } from "./until.ts";

const { Terminal } = createRequire(import.meta.url)("@xterm/headless") as { Terminal: typeof Xterm };

/** Many processes start at once in these tests, on machines that have other work. */
const PATIENCE = 15_000;

/** What decides on colors, whatever the tests themselves run in: Node draws none if it sees an unknown CI. */
const COLORED: NodeJS.ProcessEnv = {
  TERM: "xterm-256color",
  CI: undefined,
  NO_COLOR: undefined,
  FORCE_COLOR: undefined,
};

/** A command at a terminal of a size, and what stands on its screen. */
export class TerminalRun {
  readonly run: Run;
  readonly #xterm: Xterm;
  #shown = 0;

  constructor(cli: CommandLine, args: readonly string[], columns = 80, rows = 24, env: NodeJS.ProcessEnv = {}) {
    const words = args.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    const command = `stty cols ${columns} rows ${rows}; exec '${process.execPath}' '${built}' ${words}`;
    this.run = cli.startProgram("script", ["-qec", command, "/dev/null"], { ...COLORED, ...env });
    this.#xterm = new Terminal({ cols: columns, rows, allowProposedApi: true });
  }

  /** As the eye sees it, without spaces at the ends of lines. */
  async screen(): Promise<string> {
    const text = this.run.stdout.slice(this.#shown);
    this.#shown += text.length;
    await new Promise<void>((resolve) => this.#xterm.write(text, resolve));
    const { active } = this.#xterm.buffer;
    const lines = Array.from({ length: this.#xterm.rows }, (_, i) =>
      active.getLine(active.viewportY + i)?.translateToString(true),
    );
    return lines.join("\n").trimEnd();
  }

  /** Whether the second screen is shown, which a program gives back when it ends. */
  get isOnSecondScreen(): boolean {
    return this.#xterm.buffer.active.type === "alternate";
  }

  async shows(text: string | RegExp): Promise<string> {
    let screen = "";
    const isThere = async (): Promise<boolean> => {
      screen = await this.screen();
      return typeof text === "string" ? screen.includes(text) : text.test(screen);
    };
    await until(isThere, `${text} stood on the screen`, PATIENCE).catch((cause: unknown) => {
      throw new Error(`${text} did not come to stand on the screen, which is\n${screen}`, { cause });
    });
    return screen;
  }

  type(text: string): void {
    this.run.type(text);
  }
}
