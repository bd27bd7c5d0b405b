/**
 * Over HTTP, with @upstash/redis: for serverless functions, and runtimes without sockets. There are no pushes, so
 * waiters poll; and there is no connection of our own, so there is neither WATCH nor WAIT.
 */
import { SchemeError } from "../../errors.ts";
import type { Driver, Send, Subscription } from "../driver.ts";
import { Health } from "../health.ts";
import { plainError, senderOf } from "./library.ts";
import type { HttpReply, HttpRequest, HttpSender, UpstashClient } from "./library.ts";

interface Waiting {
  readonly command: readonly string[];
  answered(reply: HttpReply): void;
  failed(error: unknown): void;
}

/** Never up, so waiters have to ask. */
const DEAF: Subscription = { up: false, close() {} };

export class UpstashDriver implements Driver {
  readonly client = "upstash";
  readonly isCluster = false;
  readonly keyPrefix = "";
  readonly #sender: HttpSender;
  readonly #health = new Health();
  /** What is to leave in one request. */
  #gathered: Waiting[] | undefined;
  readonly #out = new Set<Promise<unknown>>();

  constructor(client: UpstashClient) {
    this.#sender = senderOf(client, () => this.#health.drops++);
  }

  get drops(): number {
    return this.#health.drops;
  }

  get complaint(): unknown {
    return this.#health.complaint;
  }

  get scripts(): Map<string, Set<string>> {
    return this.#health.scripts;
  }

  async send(command: readonly string[]): Promise<unknown> {
    if (!this.#gathered) return resultOf((await this.#request({ body: command })) as HttpReply);
    return new Promise((resolve, reject) => {
      const answered = (reply: HttpReply): void => {
        if (reply.error === undefined) resolve(reply.result);
        else reject(new Error(reply.error));
      };
      this.#gathered?.push({ command, answered, failed: reject });
    });
  }

  together(run: () => void): void {
    if (this.#gathered) return run();
    const gathered: Waiting[] = (this.#gathered = []);
    try {
      run();
    } finally {
      this.#gathered = undefined;
      if (gathered.length > 0) this.#sendAll(gathered);
    }
  }

  inOrder(): Promise<unknown[]> {
    const message =
      "Over HTTP no command can prove what another one wrote. Leave durability out, or use another client.";
    return Promise.reject(new SchemeError("no-wait", message, []));
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const replies = (await this.#request({ path: ["multi-exec"], body: commands })) as readonly HttpReply[];
    return replies.map(({ result, error }) => (error === undefined ? result : new Error(error)));
  }

  /** fetch does not say what has been sent, but what was answered has been. */
  async written(): Promise<void> {
    await Promise.allSettled(this.#out);
  }

  subscribe(): Subscription {
    return DEAF;
  }

  session(): Promise<Driver> {
    return Promise.reject(new Error("Over HTTP there is no connection of one's own, and so no WATCH"));
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {}

  #sendAll(waiting: readonly Waiting[]): void {
    const [first] = waiting as [Waiting];
    const isOne = waiting.length === 1;
    const request = isOne
      ? { body: first.command }
      : { path: ["pipeline"], body: waiting.map(({ command }) => command) };
    this.#request(request).then(
      (answer) => {
        const replies = isOne ? [answer as HttpReply] : (answer as readonly HttpReply[]);
        waiting.forEach((each, i) => each.answered(replies[i] ?? { error: "ERR no reply to a command of a pipeline" }));
      },
      (error: unknown) => {
        for (const each of waiting) each.failed(error);
      },
    );
  }

  async #request(request: HttpRequest): Promise<HttpReply | readonly HttpReply[]> {
    const call = this.#sender.request(request);
    this.#out.add(call);
    try {
      const answer = await call;
      this.#health.ready();
      return answer;
    } catch (error) {
      const plain = plainError(error);
      // The outcome is known only for what the server answered.
      if (!(error instanceof Error && error.name === "UpstashError")) {
        this.#health.drops++;
        this.#health.failed(plain);
      }
      throw plain;
    } finally {
      this.#out.delete(call);
    }
  }
}

function resultOf({ result, error }: HttpReply): unknown {
  if (error !== undefined) throw new Error(error);
  return result;
}
