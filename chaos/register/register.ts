/** The guarded registers of a run, for client processes on a Unix socket. No fault touches it. */
import { once } from "node:events";
import { type Server, createServer } from "node:net";
import { createInterface } from "node:readline";
import { Registers } from "../../simulator/checks/register.ts";

export interface LostUpdate {
  readonly lock: string;
  readonly fence: number;
}

export class RegisterServer {
  readonly path: string;
  readonly lost: LostUpdate[] = [];
  readonly #registers = new Registers();
  readonly #server: Server;

  constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => {
      const lines = createInterface({ input: socket });
      for (const each of [socket, lines]) each.on("error", () => {}); // clients are killed
      lines.on("line", (line) => socket.write(`${this.#answer(line)}\n`));
    });
  }

  async open(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, "listening");
    this.#server.unref();
  }

  get writes(): { readonly accepted: number; readonly refused: number } {
    return this.#registers.writes;
  }

  close(): void {
    this.#server.close();
  }

  /** The value that was read or written; -1: refused. */
  #answer(line: string): number {
    const [, verb, fence, read, lock = ""] = /^(\w+) (\d+) (\d+) (.*)$/.exec(line) ?? [];
    if (verb === "read") return this.#registers.read(lock, Number(fence)) ?? -1;
    const written = this.#registers.write(lock, Number(fence), Number(read));
    if (written === "overwrote") this.lost.push({ lock, fence: Number(fence) });
    return written === "refused" ? -1 : Number(read) + 1;
  }
}
