/** Upstash's REST protocol in front of a real server: https://upstash.com/docs/redis/features/restapi */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";

const TOKEN = "secret";

export class UpstashServer {
  readonly token = TOKEN;
  readonly url: string;
  /** How many requests came, and how many commands with them. */
  requests = 0;
  commands = 0;
  /** So many more requests are carried out, and then cut off before their reply. */
  lostReplies = 0;
  readonly #server: Server;
  readonly #redis: Redis;

  private constructor(server: Server, redis: Redis) {
    this.#server = server;
    this.#redis = redis;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(url: string): Promise<UpstashServer> {
    const redis = new Redis(url);
    redis.on("error", () => {});
    const server = createServer((request, response) => void self.#answer(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const self = new UpstashServer(server, redis);
    return self;
  }

  async stop(): Promise<void> {
    this.#redis.disconnect();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.requests++;
    const { status, body } = await this.#reply(request, Buffer.concat(chunks).toString());
    if (this.lostReplies > 0) {
      this.lostReplies--;
      request.socket.destroy();
      return;
    }
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  async #reply({ headers, url }: IncomingMessage, text: string): Promise<{ status: number; body: unknown }> {
    if (headers.authorization !== `Bearer ${TOKEN}`) {
      return { status: 401, body: { error: "WRONGPASS invalid or missing auth token" } };
    }
    const encode = headers["upstash-encoding"] === "base64" ? encoded : plain;
    const words = JSON.parse(text) as unknown;
    if (url === "/multi-exec") {
      const transaction = this.#redis.multi();
      for (const [name = "", ...args] of words as string[][]) transaction.call(name, ...args);
      const replies = (await transaction.exec()) ?? [];
      return {
        status: 200,
        body: replies.map(([error, reply]) => (error ? { error: error.message } : { result: encode(reply) })),
      };
    }
    if (url === "/pipeline") {
      return { status: 200, body: await Promise.all((words as string[][]).map((each) => this.#run(each, encode))) };
    }
    const body = await this.#run(words as string[], encode);
    return { status: "error" in body ? 400 : 200, body };
  }

  async #run([name = "", ...args]: string[], encode: (reply: unknown) => unknown): Promise<object> {
    this.commands++;
    try {
      return { result: encode(await this.#redis.callBuffer(name, ...args)) };
    } catch (error) {
      return { error: (error as Error).message };
    }
  }
}

function encoded(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(encoded);
  if (typeof reply !== "string" && !Buffer.isBuffer(reply)) return reply;
  const text = Buffer.from(reply as string);
  return text.toString() === "OK" ? "OK" : text.toString("base64");
}

function plain(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(plain);
  return Buffer.isBuffer(reply) ? reply.toString() : reply;
}
