import { createHash } from "node:crypto";
import type { Connection, Message, Request } from "../network/connection.ts";
import { Pipe } from "../network/pipe.ts";
import { EPOCH } from "../world/process.ts";
import type { World } from "../world/world.ts";
import type { RealServer, Snapshot } from "./real.ts";
import { Session } from "./session.ts";
import { looksAt, readRecords } from "./states.ts";
import type { LockRecord } from "./states.ts";
import type { Published, Reply } from "./wire.ts";

/** One write of a client, as it was carried out. */
export interface Executed {
  readonly server: SimulatedServer;
  readonly session: Session;
  readonly commands: readonly (readonly string[])[];
  readonly replies: readonly Reply[];
  readonly published: readonly Published[];
  /** What the server holds afterwards of each lock that the commands name. */
  readonly records: ReadonlyMap<string, LockRecord>;
}

/** Who follows what servers do. */
export interface Observer {
  executed(what: Executed): void;
  /** A message to a subscriber will not arrive, because its connection has broken. */
  pushLost(server: SimulatedServer, published: Published): void;
}

/** Which keys belong to which lock. */
export interface KnownLocks {
  /** The lock whose own key it is. */
  lockOf(key: string): string | undefined;
  /** Its key, that of its holders, that of its queue. */
  keysOf(lock: string): readonly string[];
}

/** A server as the world sees it: real state, and a clock, sessions and troubles that the simulator decides. */
export class SimulatedServer {
  readonly name: string;
  readonly locks: KnownLocks;
  readonly #world: World;
  /** One of several: what it holds is looked at only if somebody asks. */
  readonly #isNode: boolean;
  #starts = 0;
  readonly #observer: Observer;
  real: RealServer;
  readonly #sessions = new Map<Session, Connection>();
  readonly #subscribers = new Map<string, Set<Session>>();
  /** What has arrived and waits for the server to get round to it. */
  readonly #inbox: Pipe<() => void>;
  isDown = false;
  /** Milliseconds of its wall clock in one of the world, and how far it is ahead. */
  rate = 1;
  #offset = 0;
  /** Answers a command in the server's place. */
  trouble: ((command: readonly string[]) => Error | undefined) | undefined;
  /** Its sessions that have no wire of their own use this one instead: that of an account with fewer rights. */
  account: { exchange(commands: readonly (readonly string[])[]): Reply[] } | undefined;

  constructor(world: World, name: string, real: RealServer, locks: KnownLocks, observer: Observer, isNode = false) {
    this.#world = world;
    this.name = name;
    this.real = real;
    this.locks = locks;
    this.#isNode = isNode;
    this.#observer = observer;
    this.#inbox = new Pipe(
      world,
      () => 0,
      (run) => run(),
    );
  }

  /** What a history puts before what it was told. */
  get told(): string {
    return this.#isNode ? `${this.name}: ` : "";
  }

  /** Milliseconds since 1970 on its wall clock. */
  wall(time = this.#world.now): number {
    return EPOCH + this.#offset + time * this.rate;
  }

  /** When its wall clock will show that, unless it jumps. */
  timeOf(wall: number): number {
    return (wall - EPOCH - this.#offset) / this.rate;
  }

  jump(by: number): void {
    this.#offset += by;
  }

  /** As SIGSTOP, for that long. */
  freeze(time: number): void {
    this.#inbox.hold(this.#world.now + time);
  }

  accept(connection: Connection, send: (message: Message) => boolean): Session | undefined {
    if (this.isDown) return undefined;
    const lose = (messages: readonly Message[]): void => {
      for (const each of messages) if (each.kind === "published") this.#observer.pushLost(this, each);
    };
    const session = new Session(this, connection.client, send, lose);
    this.#sessions.set(session, connection);
    const greet = (): void => {
      if (connection.purpose === "session") session.wire = this.real.open();
      send({ kind: "ready", server: this.real.id });
    };
    this.#inbox.send(greet, this.#world.now);
    return session;
  }

  receive(session: Session, request: Request): void {
    this.#inbox.send(() => this.#execute(session, request), this.#world.now);
  }

  /** The process of the server ends: all its connections with it. */
  stop(clientNotices: () => number): void {
    this.isDown = true;
    for (const [session, connection] of this.#sessions) {
      connection.breakOff({ deafFor: 0, clientNotices: clientNotices(), serverNotices: 0 });
      this.forget(session);
    }
  }

  /** It runs again, as another process, and holds exactly this. */
  start(real: RealServer, snapshot: Snapshot): void {
    this.real = real;
    this.#starts++;
    this.trouble = undefined;
    this.#setClock();
    real.restore(snapshot);
    real.exchange([["SCRIPT", "FLUSH"]]);
    this.isDown = false;
  }

  snapshot(): Snapshot {
    this.#setClock();
    return this.real.snapshot();
  }

  /** Without a client: what an administrator does. */
  admin(...command: string[]): Reply[] {
    this.#setClock();
    return this.real.exchange([command]);
  }

  /** What it holds of all these locks. */
  look(locks: readonly string[]): Map<string, LockRecord> {
    this.#setClock();
    const replies = this.real.exchange(locks.flatMap((lock) => looksAt(this.locks.keysOf(lock))));
    const records = readRecords(replies, this.wall());
    return new Map(locks.map((lock, i) => [lock, records[i] as LockRecord]));
  }

  forget(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    session.isOpen = false;
    for (const channel of session.channels) this.#unsubscribe(session, channel);
    if (session.wire) this.real.leave(session.wire);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  #setClock(): void {
    this.real.setClock(this.wall() * 1_000);
  }

  #execute(session: Session, { commands }: Request): void {
    if (!session.isOpen) return;
    this.#setClock();
    const troubles = commands.map((command) => this.trouble?.(command));
    if (troubles.some((error) => error !== undefined)) {
      const replies = troubles.map((error) => error ?? new Error("ERR another command of this write was refused"));
      session.send({ kind: "replies", replies });
      return;
    }
    const [[verb, channel = ""] = []] = commands;
    if (verb === "SUBSCRIBE") this.#subscribe(session, channel);
    else if (verb === "UNSUBSCRIBE") this.#unsubscribe(session, channel);
    else return this.#run(session, commands);
    session.send({ kind: "replies", replies: [channel] });
  }

  #run(session: Session, commands: Request["commands"]): void {
    const locks = this.#isNode ? [] : this.#named(commands);
    const looks = locks.flatMap((lock) => looksAt(this.locks.keysOf(lock)));
    const wire = session.wire ?? this.account;
    // Whatever the commands have published arrives before the reply to what is sent behind them.
    const replies = wire
      ? [...wire.exchange(commands), ...this.real.exchange([...looks, ["PING"]])]
      : this.real.exchange([...commands, ...looks, ["PING"]]);
    const found = readRecords(replies.slice(commands.length, -1), this.wall());
    const records = new Map(locks.map((lock, i) => [lock, found[i] as LockRecord]));
    const published = this.real.takePublished();
    const own = replies.slice(0, commands.length).map((reply, i) => this.#said(commands[i], reply));
    this.#observer.executed({ server: this, session, commands, replies: own, published, records });
    for (const message of published) this.#publish(message);
    session.send({ kind: "replies", replies: own });
  }

  /** One real server is each process of a node in turn, and must not say so; what else it says is not the same twice. */
  #said([verb, section = ""]: readonly string[] = [], reply: Reply): Reply {
    if (!this.#isNode || verb !== "INFO") return reply;
    if (section !== "server") return "# Replication\r\nrole:master\r\n";
    return `# Server\r\nrun_id:${createHash("sha1").update(`${this.name} ${this.#starts}`).digest("hex")}\r\n`;
  }

  #publish(published: Published): void {
    for (const session of this.#subscribers.get(published.channel) ?? []) {
      if (!session.send({ kind: "published", ...published })) this.#observer.pushLost(this, published);
    }
  }

  #named(commands: Request["commands"]): string[] {
    const locks = new Set<string>();
    for (const command of commands) {
      for (const word of command) {
        const lock = this.locks.lockOf(word);
        if (lock !== undefined) locks.add(lock);
      }
    }
    return [...locks];
  }

  #subscribe(session: Session, channel: string): void {
    session.channels.add(channel);
    let subscribers = this.#subscribers.get(channel);
    if (!subscribers) this.#subscribers.set(channel, (subscribers = new Set()));
    subscribers.add(session);
    if (subscribers.size === 1) this.real.exchange([["SUBSCRIBE", channel]]);
  }

  #unsubscribe(session: Session, channel: string): void {
    session.channels.delete(channel);
    const subscribers = this.#subscribers.get(channel);
    if (!subscribers?.delete(session) || subscribers.size > 0) return;
    this.#subscribers.delete(channel);
    this.real.exchange([["UNSUBSCRIBE", channel]]);
  }
}
