/** The Redis protocol, version 3, over one connection on which what is published arrives between the replies. */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { once } from "node:events";

/** An Error for what the server refused. */
export type Reply = string | number | boolean | null | Error | Reply[];

const PUSH = Symbol("push");

/** What was published, in the order in which it was. */
export interface Published {
  readonly channel: string;
  readonly text: string;
}

interface Waiting {
  left: number;
  readonly replies: Reply[];
  resolve(replies: Reply[]): void;
  reject(error: Error): void;
}

export class Wire {
  /** What was published since it was last emptied. */
  readonly published: Published[] = [];
  readonly #socket: Socket;
  readonly #encoding: BufferEncoding;
  #unread: Buffer = Buffer.alloc(0);
  #waiting: Waiting | undefined;

  private constructor(socket: Socket, encoding: BufferEncoding) {
    this.#socket = socket;
    this.#encoding = encoding;
    socket.on("data", (data) => this.#read(data));
    const fail = (error?: Error): void =>
      this.#waiting?.reject(error ?? new Error("The server closed the connection."));
    socket.on("error", fail);
    socket.on("close", () => fail());
  }

  /** @param encoding `latin1` leaves each byte as it is */
  static async open(path: string, encoding: BufferEncoding = "utf8"): Promise<Wire> {
    const socket = connect({ path });
    await once(socket, "connect");
    const wire = new Wire(socket, encoding);
    await wire.exchange([["HELLO", "3"]]);
    return wire;
  }

  /** Sends all in one write, and waits for all replies. One exchange at a time. */
  exchange(commands: readonly (readonly string[])[]): Promise<Reply[]> {
    return new Promise((resolve, reject) => {
      this.#waiting = { left: commands.length, replies: [], resolve, reject };
      this.#socket.write(commands.map((words) => encode(words, this.#encoding)).join(""), this.#encoding);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(data: Buffer): void {
    this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data]);
    const reader = new Reader(this.#unread, this.#encoding);
    for (let read = reader.next(); read !== undefined; read = reader.next()) {
      this.#unread = this.#unread.subarray(reader.at);
      reader.rebase(this.#unread);
      this.#take(read.reply);
    }
  }

  #take(reply: Reply | typeof PUSH | { readonly [PUSH]: Reply[] }): void {
    if (typeof reply === "object" && reply !== null && PUSH in reply) {
      const [kind, channel, text] = reply[PUSH];
      if (kind === "message") this.published.push({ channel: String(channel), text: String(text) });
      // SUBSCRIBE and UNSUBSCRIBE are answered with what looks like a push.
      if (kind === "message") return;
    }
    const waiting = this.#waiting;
    if (!waiting) return;
    waiting.replies.push(reply as Reply);
    if (--waiting.left > 0) return;
    this.#waiting = undefined;
    waiting.resolve(waiting.replies);
  }
}

function encode(words: readonly string[], encoding: BufferEncoding): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${Buffer.byteLength(word, encoding)}\r\n${word}\r\n`;
  return text;
}

/** Reads one reply after the other; undefined for one that is not complete yet. */
class Reader {
  at = 0;
  #data: Buffer;
  readonly #encoding: BufferEncoding;

  constructor(data: Buffer, encoding: BufferEncoding) {
    this.#data = data;
    this.#encoding = encoding;
  }

  rebase(data: Buffer): void {
    this.#data = data;
    this.at = 0;
  }

  next(): { readonly reply: Reply | { readonly [PUSH]: Reply[] } } | undefined {
    const isPush = this.#data[this.at] === 0x3e;
    const reply = this.#value();
    if (reply === undefined) return undefined;
    return { reply: isPush ? { [PUSH]: reply as Reply[] } : reply };
  }

  #value(): Reply | undefined {
    const end = this.#data.indexOf(13, this.at);
    if (end < 0 || end + 1 >= this.#data.length) return undefined;
    const kind = String.fromCharCode(this.#data[this.at] as number);
    const line = this.#data.toString("latin1", this.at + 1, end);
    this.at = end + 2;
    switch (kind) {
      case ":":
      case ",":
        return Number(line);
      case "+":
        return line;
      case "-":
        return new Error(line);
      case "_":
        return null;
      case "#":
        return line === "t";
      case "$":
        return this.#bulk(Number(line));
      case "=":
        return this.#bulk(Number(line)); // text with its format before it, as INFO answers
      case "%":
        return this.#list(2 * Number(line));
      case "*":
      case ">":
      case "~":
        return this.#list(Number(line));
      default:
        throw new Error(`Cannot read a reply that begins with ${JSON.stringify(kind)}.`);
    }
  }

  #bulk(size: number): Reply | undefined {
    if (size < 0) return null;
    if (this.at + size + 2 > this.#data.length) return undefined;
    const text = this.#data.toString(this.#encoding, this.at, this.at + size);
    this.at += size + 2;
    return text;
  }

  #list(size: number): Reply | undefined {
    if (size < 0) return null;
    const list: Reply[] = [];
    for (let i = 0; i < size; i++) {
      const item = this.#value();
      if (item === undefined) return undefined;
      list.push(item);
    }
    return list;
  }
}
