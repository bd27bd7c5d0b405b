/** A client of a real server whose replies are changed on their way, as a broken proxy, module or server would. */
import { Redis } from "ioredis";

/** A generator of numbers that a seed decides (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const HUGE = "x".repeat(1_000_000);

/** What is said in place of a reply. */
const LIES: readonly (() => unknown)[] = [
  () => null,
  () => undefined,
  () => "",
  () => "OK",
  () => "ERR",
  () => "again",
  () => "holding",
  () => 0,
  () => 1,
  () => -1,
  () => 4.5,
  () => NaN,
  () => 2 ** 60,
  () => "1e300",
  () => 7n,
  () => true,
  () => HUGE,
  () => Buffer.from("a buffer"),
  () => ({}),
  () => new Map([["a", 1]]),
  () => [],
  () => [null],
  () => [[]],
  () => [undefined, {}],
  () => ["ERR"],
  () => [["ERR"]],
  () => [["ERR", "OOM command not allowed"]],
  () => [["ERR", "\u001b[31m\r\n+OK\r\n"]],
  () => [["again"]],
  () => [["full"]],
  () => [["mismatch"]],
  () => [["holding", "not a number"]],
  () => [["ticket", 0, 0]],
  () => [["", "", "", "", ""]],
  () => Array.from({ length: 10_000 }, () => 1),
];

const ERRORS: readonly string[] = [
  "OOM command not allowed when used memory > 'maxmemory'.",
  "READONLY You can't write against a read only replica.",
  "LOADING Redis is loading the dataset in memory",
  "NOSCRIPT No matching script. Please use EVAL.",
  "BUSY Redis is busy running a script.",
  "NOPERM this user has no permissions to run the 'zadd' command",
  "WRONGTYPE Operation against a key holding the wrong kind of value",
  "MOVED 1234 127.0.0.1:1",
  "CROSSSLOT Keys in request don't hash to the same slot",
  "EXECABORT Transaction discarded because of previous errors.",
  "UNBLOCKED force unblock",
  "ERR \u001b]0;a title\u0007 \r\n a second line",
  "",
  `ERR ${HUGE}`,
  "no code in capitals",
];

/** The reply with one part of it changed. */
function changed(reply: unknown, draw: () => number): unknown {
  if (Array.isArray(reply) && reply.length > 0) {
    const at = Math.floor(draw() * reply.length);
    const way = draw();
    if (way < 0.15) return reply.slice(0, at);
    if (way < 0.3) return [...(reply as unknown[]), ...(reply as unknown[])];
    return (reply as unknown[]).map((each, i) => (i === at ? changed(each, draw) : each));
  }
  return LIES[Math.floor(draw() * LIES.length)]!();
}

export class LyingRedis extends Redis {
  sent = 0;
  /** How often it lies, from 0 to 1. */
  lies = 0;
  draw: () => number = Math.random;
  /** Replies that are lies, or may be, and have not arrived yet. */
  #onTheirWay = new Set<Promise<unknown>>();

  /** Lie no more. Resolves when the last lie has arrived. */
  async repent(): Promise<void> {
    this.lies = 0;
    await Promise.allSettled(this.#onTheirWay);
  }

  override sendCommand(...args: Parameters<Redis["sendCommand"]>): unknown {
    this.sent++;
    const sent = super.sendCommand(...args);
    const isOurs = !["info", "subscribe", "unsubscribe", "client", "hello"].includes(args[0].name);
    return isOurs ? this.#told(sent as Promise<unknown>) : sent;
  }

  override multi(...args: never[]): never {
    const pipeline = Reflect.apply(super.multi, this, args) as { exec(): Promise<unknown> };
    const exec = pipeline.exec.bind(pipeline);
    // The client itself pairs each reply with an error; it is the replies that the server sends.
    pipeline.exec = async () => {
      const pairs = (await exec()) as [unknown, unknown][] | null;
      const said = await this.#told(Promise.resolve(pairs && pairs.map(([error, value]) => error ?? value)));
      return Array.isArray(said) ? said.map((value: unknown) => [value instanceof Error ? value : null, value]) : null;
    };
    return pipeline as never;
  }

  #told(reply: Promise<unknown>): Promise<unknown> {
    if (this.lies === 0) return reply;
    const told = this.#changed(reply);
    this.#onTheirWay.add(told);
    const arrived = (): void => void this.#onTheirWay.delete(told);
    // Of a command in a MULTI nobody hears by itself.
    told.then(arrived, arrived);
    return told;
  }

  #changed(reply: Promise<unknown>): Promise<unknown> {
    const kind = this.draw();
    const isLie = this.draw() < this.lies;
    return reply.then((said) => {
      if (!isLie) return said;
      if (kind < 0.25) throw new Error(ERRORS[Math.floor(this.draw() * ERRORS.length)]);
      return kind < 0.7 ? changed(said, this.draw) : LIES[Math.floor(this.draw() * LIES.length)]!();
    });
  }
}
