/**
 * The Redis protocol, version 3, over one connection on which what is published arrives between the replies. It is
 * written and read synchronously: to wait for the event loop would take several times as long as the server does.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readSync, writeSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";

/** An Error for what the server refused. */
export type Reply = string | number | boolean | null | Error | Reply[];

const PUSH = Symbol("push");

/** What was published, in the order in which it was. */
export interface Published {
  readonly channel: string;
  readonly text: string;
}

export class Wire {
  /** What was published since it was last emptied. */
  readonly published: Published[] = [];
  readonly #socket: Socket;
  readonly #file: number;
  readonly #encoding: BufferEncoding;
  readonly #reader: Reader;

  private constructor(socket: Socket, file: number, encoding: BufferEncoding) {
    this.#socket = socket;
    this.#file = file;
    this.#encoding = encoding;
    this.#reader = new Reader(file, encoding);
  }

  /** @param encoding `latin1` leaves each byte as it is */
  static async open(path: string, encoding: BufferEncoding = "utf8"): Promise<Wire> {
    const socket = connect({ path });
    // The event loop is to read nothing of it.
    socket.pause();
    await once(socket, "connect");
    const { fd: file } = (socket as unknown as { readonly _handle: { readonly fd: number } })["_handle"];
    // Calls on a file that a child inherits as its input block from then on, also here: it is the same open file.
    spawnSync("true", { stdio: [file, "ignore", "ignore"] });
    const wire = new Wire(socket, file, encoding);
    wire.exchange([["HELLO", "3"]]);
    return wire;
  }

  /** Sends all in one write, and waits for all replies. */
  exchange(commands: readonly (readonly string[])[]): Reply[] {
    const bytes = Buffer.from(commands.map(encode, this.#encoding).join(""), this.#encoding);
    for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at);
    const replies: Reply[] = [];
    while (replies.length < commands.length) {
      const reply = this.#reader.next();
      // SUBSCRIBE and UNSUBSCRIBE are answered with what looks like a push.
      if (typeof reply === "object" && reply !== null && PUSH in reply) {
        const [kind, channel, text] = reply[PUSH];
        if (kind === "message") this.published.push({ channel: String(channel), text: String(text) });
        else replies.push(reply[PUSH]);
      } else replies.push(reply);
    }
    return replies;
  }

  close(): void {
    this.#socket.destroy();
  }
}

function encode(this: BufferEncoding, words: readonly string[]): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${Buffer.byteLength(word, this)}\r\n${word}\r\n`;
  return text;
}

/** Reads one reply after the other, and waits for each. */
class Reader {
  readonly #file: number;
  readonly #encoding: BufferEncoding;
  #data: Buffer = Buffer.allocUnsafe(65_536);
  /** What has been read, and is not a reply yet. */
  #at = 0;
  #end = 0;

  constructor(file: number, encoding: BufferEncoding) {
    this.#file = file;
    this.#encoding = encoding;
  }

  next(): Reply | { readonly [PUSH]: Reply[] } {
    for (;;) {
      const start = this.#at;
      const isPush = start < this.#end && this.#data[start] === 0x3e;
      const reply = this.#value();
      if (reply !== undefined) return isPush ? { [PUSH]: reply as Reply[] } : reply;
      this.#at = start;
      this.#fill();
    }
  }

  #fill(): void {
    this.#data.copyWithin(0, this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
    if (this.#end === this.#data.length) this.#data = Buffer.concat([this.#data, Buffer.allocUnsafe(this.#end)]);
    const read = readSync(this.#file, this.#data, this.#end, this.#data.length - this.#end, null);
    if (read === 0) throw new Error("The server closed the connection.");
    this.#end += read;
  }

  #value(): Reply | undefined {
    let end = this.#at + 1;
    while (end < this.#end && this.#data[end] !== 13) end++;
    if (end + 1 >= this.#end) return undefined;
    const kind = String.fromCharCode(this.#data[this.#at] as number);
    const line = this.#data.toString("latin1", this.#at + 1, end);
    this.#at = end + 2;
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
    if (this.#at + size + 2 > this.#end) return undefined;
    const text = this.#data.toString(this.#encoding, this.#at, this.#at + size);
    this.#at += size + 2;
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
