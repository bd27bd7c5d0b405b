/** What the locks guard: numbers that the laboratory keeps, reached over a Unix socket that no fault touches. */
import { type Socket, connect } from "node:net";
import { createInterface } from "node:readline";

export interface Fenced {
  readonly name: string;
  readonly fence: number;
}

export class RegisterClient {
  readonly #socket: Socket;
  /** Answers come in the order of the questions. */
  readonly #waiting: ((answer: number) => void)[] = [];

  constructor(path: string) {
    this.#socket = connect({ path });
    createInterface({ input: this.#socket }).on("line", (line) => this.#waiting.shift()?.(Number(line)));
  }

  /** @returns undefined if a later holder has been there */
  async read({ name, fence }: Fenced): Promise<number | undefined> {
    const value = await this.#ask(`read ${fence} 0 ${name}`);
    return value < 0 ? undefined : value;
  }

  /** Write what follows the value that was read. @returns whether it was accepted */
  async write({ name, fence }: Fenced, read: number): Promise<boolean> {
    return (await this.#ask(`write ${fence} ${read} ${name}`)) >= 0;
  }

  close(): void {
    this.#socket.end();
  }

  #ask(question: string): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(`${question}\n`);
    });
  }
}
