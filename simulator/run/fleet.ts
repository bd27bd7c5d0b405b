/** A plan carried out: a server, clients with their programs, and what goes wrong, in virtual time. */
import { LockManager } from "../../src/lock-manager.ts";
import { share } from "../../src/drivers/shared.ts";
import * as scripts from "../../src/schemes/lua/scripts.generated.ts";
import { Beliefs } from "../checks/beliefs.ts";
import type { Attempt } from "../checks/attempt.ts";
import { History } from "../checks/history.ts";
import { Ledger } from "../checks/ledger.ts";
import { Verdict } from "../checks/verdict.ts";
import { Waits } from "../checks/waits.ts";
import { Program } from "../load/program.ts";
import type { Checks } from "../load/program.ts";
import { SimulatedDriver } from "../network/driver.ts";
import { Link } from "../network/link.ts";
import { LIMIT, LOCKS } from "../plan/plan.ts";
import type { ClientPlan, Operation, Plan } from "../plan/plan.ts";
import type { RealServer } from "../server/real.ts";
import { SimulatedServer } from "../server/server.ts";
import { Process } from "../world/process.ts";
import { Random } from "../world/random.ts";
import { World } from "../world/world.ts";
import { CLAIM, Excuses } from "./excuses.ts";
import { Trouble } from "./trouble.ts";

const PREFIX = "lock:";
/** How long waiters may wait for a lock that nobody holds, whatever went wrong: a poke, and a reconnection before it. */
const SERVICE: Readonly<Record<Plan["scheme"], number>> = { lua: 10_000, set: 6_000 };
/** When all is quiet: everything is served and over by then, whatever the ttls. */
const AFTERMATH = 15 * 60_000;
/** Keys of those who died are gone by then: the longest ttl, a label's margin, the queue's own. */
const KEYS_LAST = 5 * 60_000;
const HOUR = 3_600_000;

export interface Outcome {
  readonly plan: Plan;
  readonly verdict: Verdict;
  readonly history: History;
  readonly hours: number;
  readonly commands: number;
  readonly holds: number;
  readonly writes: { readonly accepted: number; readonly refused: number };
}

/** One machine and whoever runs on it. */
interface Machine {
  readonly plan: ClientPlan;
  /** How many processes have run on it. */
  lives: number;
  process: Process;
  link: Link;
  driver: SimulatedDriver;
  /** Those with a manager that was closed, and the one that is at work. */
  readonly programs: Program[];
  /** Gives back what keeps the driver in use. */
  leave(): void;
}

export class Fleet {
  readonly world = new World();
  readonly history = new History(this.world);
  readonly verdict = new Verdict(this.history);
  readonly server: SimulatedServer;
  readonly ledger: Ledger;
  readonly machines = new Map<string, Machine>();
  readonly excuses: Excuses;
  readonly #plan: Plan;
  readonly #beliefs: Beliefs;
  readonly #waits: Waits;
  readonly #random: Random;
  /** Client ids and what they are called in a history. */
  readonly #aliases = new Map<string, string>();
  #attempts = 0;
  /** All managers are being closed: nobody comes back. */
  #isLeaving = false;

  /** @param real two servers, of which one runs at a time: a restart is the other's start */
  constructor(plan: Plan, real: readonly [RealServer, RealServer]) {
    this.#plan = plan;
    this.excuses = new Excuses(this.world, plan.scheme, () => this.ledger);
    this.#random = new Random(`${plan.seed}/run`);
    const locks = { lockOf, keysOf };
    this.server = new SimulatedServer(this.world, "s1", real[0], locks, {
      executed: (what) => this.ledger.executed(what),
      pushLost: (_, { text }) => this.history.add("s1", () => `a push is lost: ${this.#alias(text)}`),
    });
    this.server.rate = plan.serverRate;
    const alias = (text: string): string => this.#alias(text);
    const isForcing = (client: string, lock: string): boolean => this.#waits.isForcing(client, lock);
    this.ledger = new Ledger(this.world, this.history, this.verdict, scriptOf, alias, isForcing);
    this.#beliefs = new Beliefs(this.server, this.history, this.verdict, this.ledger, LIMIT, (hold, lostAt) =>
      this.excuses.mayNotKnow(hold, lostAt),
    );
    this.#waits = new Waits(this.world, this.server, this.verdict, this.ledger, {
      bound: (attempt, since) => this.#bound(attempt, since),
      isOrdered: plan.scheme === "lua",
      mayHaveMissed: (attempt) => this.excuses.mayHaveMissed(attempt),
      quietSince: ({ by }) => this.excuses.quietSince(by.name),
    });
    this.#trouble = new Trouble(this, real, plan.snapshotEvery);
  }

  readonly #trouble: Trouble;

  run(): Outcome {
    const { world, server } = this;
    const { length, steps, clients } = this.#plan;
    server.start(server.real, []);
    for (const plan of clients) this.#boot(plan, 0);
    for (const step of steps) {
      world.at(step.at, () => {
        if ("trouble" in step) return this.#trouble.strike(step.trouble);
        return this.#order(step.client, step.operation);
      });
    }
    this.#trouble.prepare(steps);
    this.#waits.watch(length + AFTERMATH);
    world.run(length);
    const hours = this.#finish() / HOUR;
    const { commands } = this.ledger;
    const { count: holds, writes } = this.#beliefs;
    const { verdict, history } = this;
    return { plan: this.#plan, verdict, history, hours, commands, holds, writes };
  }

  machine(name: string): Machine {
    return this.machines.get(name) as Machine;
  }

  /** As SIGKILL. @param silent the server does not learn that its connections are gone @param back when it runs again */
  crash(name: string, silent: boolean, back: number): void {
    const machine = this.machine(name);
    if (machine.process.isDead) return;
    machine.process.kill();
    machine.leave();
    const serverNotices = silent ? 120_000 : machine.link.latency();
    machine.link.breakAll({ deafFor: 0, clientNotices: 0, serverNotices });
    this.world.at(this.world.now + back, () => {
      if (!this.#isLeaving) this.#boot(machine.plan, machine.lives);
    });
  }

  /** Let all programs end, and look for what is left. @returns how long that took, without the wait for keys to expire */
  #finish(): number {
    const { world, history } = this;
    history.add("", "quiet from now on");
    this.#trouble.end();
    for (let waited = 0; waited < AFTERMATH && this.#waits.open.length > 0; waited += 10_000) {
      world.run(world.now + 10_000);
    }
    const length = world.now;
    for (const attempt of this.#waits.open) {
      this.verdict.fail("service", `${attempt.by.name}${attempt.label} was never served`);
    }
    this.#isLeaving = true;
    for (const { process, programs } of this.machines.values()) {
      const program = programs.at(-1);
      if (!process.isDead && program?.isClosed === false) process.receive(() => void program.close(5_000));
    }
    world.run(world.now + 30_000);
    for (const machine of this.machines.values()) {
      if (machine.process.isDead) continue;
      machine.process.receive(() => {
        machine.leave();
        machine.driver.end();
      });
    }
    world.run(world.now + KEYS_LAST);
    for (const { process, link } of this.machines.values()) {
      if (process.isDead) continue;
      const left = process.pendingTimers > 0 ? [`${process.pendingTimers} timers`] : [];
      if (link.connections.size > 0) left.push(`${link.connections.size} connections`);
      if (left.length > 0) this.verdict.fail("nothing is left", `${process.name} has ${left.join(" and ")}`);
    }
    this.#lookForKeys([`${PREFIX}:fence`, `${PREFIX}:set:fence`], "after all have gone");
    world.run(world.now + HOUR);
    this.#lookForKeys([], "an hour later");
    return length;
  }

  #lookForKeys(allowed: readonly string[], when: string): void {
    const [keys] = this.server.admin("KEYS", "*");
    const left = (keys as string[]).filter((key) => !allowed.includes(key)).sort();
    if (left.length > 0) this.verdict.fail("nothing is left", `${this.#alias(left.join(", "))} ${when}`);
  }

  #bound({ by }: Attempt, since: number): number {
    const { scheme } = this.#plan;
    if (scheme !== "lua" || !this.excuses.isCalmAt(since)) return SERVICE[scheme];
    // Whoever is let in and has just left keeps the lock for the claim window; then there are 4 L.
    return CLAIM + 4 * by.latency + by.process.blockedBetween(since, this.world.now);
  }

  #boot(plan: ClientPlan, lives: number): void {
    const { world } = this;
    const name = lives === 0 ? plan.name : `${plan.name}${lives + 1}`;
    const process = new Process(world, name, this.#random.fork(`process ${name}`), plan);
    const link = new Link(world, process, this.#random.fork(`link ${name}`), plan);
    if (lives > 0) this.history.add(name, "starts");
    process.hitches = 0;
    process.receive(() => {
      const events = {
        lost: () => this.excuses.disturb(name),
        ready: () => this.excuses.settle(name),
        heard: (text: string) => this.ledger.heard(text),
      };
      const driver = new SimulatedDriver(link, () => this.server, { ...plan, events });
      // The library knows it for a client of ioredis, and finds its driver made already.
      const client = { call: nothing, multi: nothing, duplicate: nothing, status: "ready", options: {} };
      const mine = share(client, () => driver);
      const program = this.#program(name, plan, process, client);
      process.onStep = (wasInput) => {
        for (const each of machine.programs) each.stepped(wasInput);
      };
      const leave = (): void => mine.close();
      const machine: Machine = { plan, lives: lives + 1, process, link, driver, programs: [program], leave };
      this.#clients.set(machine, client);
      this.machines.set(plan.name, machine);
      process.hitches = plan.hitches;
    });
  }

  readonly #clients = new Map<Machine, object>();

  #program(name: string, plan: ClientPlan, process: Process, client: object): Program {
    const { scheme } = this.#plan;
    const terms = { scheme, label: name, prefix: PREFIX, ...(scheme === "lua" ? { turn: plan.turn } : {}) };
    const manager = new LockManager(client as never, terms);
    const id = process.lastDrawn;
    this.#aliases.set(id, name);
    const latency = plan.latency * (1 + plan.jitter);
    const asker = { name, process, id, turn: plan.turn, latency, isClosed: false };
    return new Program(asker, manager, this.#checks, (to, after, receive) => {
      this.world.at(process.time + after, () => {
        const heir = this.machines.get(to);
        const program = heir?.programs.at(-1);
        if (program) heir?.process.receive(() => receive(program));
      });
    });
  }

  readonly #checks: Checks = this.#makeChecks();

  #makeChecks(): Checks {
    const beliefs = (): Beliefs => this.#beliefs;
    const waits = (): Waits => this.#waits;
    return {
      history: this.history,
      verdict: this.verdict,
      get beliefs() {
        return beliefs();
      },
      get waits() {
        return waits();
      },
      nextId: () => ++this.#attempts,
      isExcused: (attempt: Attempt, error: unknown) => this.excuses.cover(attempt, error),
    };
  }

  #order(name: string, operation: Operation): void {
    const machine = this.machines.get(name);
    if (!machine || machine.process.isDead) return;
    machine.process.receive(() => {
      const program = machine.programs.at(-1) as Program;
      void program.perform(operation);
      // Whoever closes its manager goes on with a new one, on the same client.
      const client = this.#clients.get(machine) as object;
      if (operation.do === "close") {
        machine.programs.push(this.#program(`${program.asker.name}'`, machine.plan, machine.process, client));
      }
    });
  }

  #alias(text: string): string {
    return text.replace(/[\w-]{22}(?=[:"\s]|$)/g, (id) => this.#aliases.get(id) ?? id);
  }
}

function nothing(): void {}

function scriptOf([verb, source = ""]: readonly string[]): string | undefined {
  if (verb !== "EVALSHA" && verb !== "EVAL") return undefined;
  return Object.values(scripts).find((script) => script.sha === source || script.source === source)?.name;
}

const KEYS = new Map(LOCKS.map((lock) => [PREFIX + lock, lock as string]));

function lockOf(key: string): string | undefined {
  return KEYS.get(key);
}

function keysOf(lock: string): string[] {
  const key = PREFIX + lock;
  return [key, `{${key}}:holders`, `{${key}}:queue`];
}
