/** A plan carried out: servers, clients with their programs, and what goes wrong, in virtual time. */
import { LockManager } from "../../src/lock-manager.ts";
import { share } from "../../src/drivers/shared.ts";
import * as one from "../../src/schemes/lua/scripts.generated.ts";
import * as several from "../../src/schemes/redlock/scripts.generated.ts";
import { Beliefs } from "../checks/beliefs.ts";
import type { Asker, Attempt, Hold } from "../checks/attempt.ts";
import { History } from "../checks/history.ts";
import { Incidents } from "../checks/incidents.ts";
import type { Keeping } from "../checks/keeping.ts";
import { Ledger } from "../checks/ledger.ts";
import { Quorum } from "../checks/quorum.ts";
import { Verdict } from "../checks/verdict.ts";
import { Waits } from "../checks/waits.ts";
import { Program } from "../load/program.ts";
import type { Checks } from "../load/program.ts";
import { SimulatedDriver } from "../network/driver.ts";
import type { NetworkEvents } from "../network/driver.ts";
import { Link } from "../network/link.ts";
import { LIMIT, LOCKS } from "../plan/plan.ts";
import type { ClientPlan, Operation, Plan, ServerPlan } from "../plan/plan.ts";
import type { RealServer } from "../server/real.ts";
import { SimulatedServer } from "../server/server.ts";
import type { Observer } from "../server/server.ts";
import { Process } from "../world/process.ts";
import { Random } from "../world/random.ts";
import { World } from "../world/world.ts";
import { CLAIM, Excuses } from "./excuses.ts";
import { Trouble } from "./trouble.ts";

const PREFIX = "lock:";
/** How long waiters may wait for a lock that nobody holds, whatever went wrong: a poke, and a reconnection before it. */
const SERVICE: Readonly<Record<Plan["scheme"], number>> = { lua: 10_000, set: 6_000, redlock: 10_000 };
/** When all is quiet: everything is served and over by then, whatever the ttls. */
const AFTERMATH = 15 * 60_000;
/** Keys of those who died are gone by then: the longest ttl, a label's margin, the queue's own. */
const KEYS_LAST = 5 * 60_000;
/** What a node remembers beside its locks stays: its mark, and notes about others that were absent. */
const isOfNode = (key: string): boolean => key.startsWith(`${PREFIX}:`) && key.endsWith(":node");
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
  readonly lives: number;
  readonly process: Process;
  /** To each server. */
  readonly links: readonly Link[];
  readonly drivers: readonly SimulatedDriver[];
  /** What its programs give to their managers. */
  readonly client: object;
  /** Those with a manager that was closed, and the one that is at work. */
  readonly programs: Program[];
  /** Gives back what keeps the drivers in use. */
  leave(): void;
}

export class Fleet {
  readonly world = new World();
  readonly history = new History(this.world);
  readonly verdict = new Verdict(this.history);
  readonly servers: readonly SimulatedServer[];
  readonly incidents: Incidents;
  readonly keeping: Keeping;
  readonly machines = new Map<string, Machine>();
  readonly excuses: Excuses;
  readonly #plan: Plan;
  readonly #beliefs: Beliefs;
  readonly #waits: Waits;
  readonly #trouble: Trouble;
  readonly #random: Random;
  /** Client ids and what they are called in a history. */
  readonly #aliases = new Map<string, string>();
  /** By client id. */
  readonly #askers = new Map<string, Asker>();
  #attempts = 0;
  /** All managers are being closed: nobody comes back. */
  #isLeaving = false;

  /** @param real one for each server; of a single one, a restart is the start of the second */
  constructor(plan: Plan, real: readonly RealServer[]) {
    this.#plan = plan;
    this.#random = new Random(`${plan.seed}/run`);
    const { servers } = plan;
    this.incidents = new Incidents(this.world, Math.ceil(servers.length / 2) - 1);
    this.excuses = new Excuses(this.world, plan.scheme, this.incidents, {
      keeping: () => this.keeping,
      isForcing: (process, lock) => this.#waits.isForcing(process, lock),
    });
    this.servers = servers.map((terms, i) => this.#server(terms, i, real[i] as RealServer));
    this.keeping = this.#keep();
    this.#beliefs = new Beliefs(this.history, this.verdict, this.keeping, LIMIT);
    this.#waits = new Waits(this.world, this.verdict, this.keeping, {
      bound: (attempt, since) => this.#bound(attempt, since),
      isOrdered: plan.scheme === "lua",
      mayHaveMissed: (older, younger) => this.excuses.mayHaveMissed(older, younger),
      quietSince: ({ by }) => this.excuses.quietSince(by.name),
    });
    this.#trouble = new Trouble(this, servers.length === 1 ? real[1] : undefined, plan.snapshotEvery);
  }

  #server({ rate, offset }: ServerPlan, i: number, real: RealServer): SimulatedServer {
    const name = `s${i + 1}`;
    const observer: Observer = {
      executed: (what) => this.keeping.executed(what),
      pushLost: (_, { text }) => this.history.add(name, () => `a push is lost: ${this.#alias(text)}`),
    };
    const isNode = this.#plan.servers.length > 1;
    const server = new SimulatedServer(this.world, name, real, { lockOf, keysOf }, observer, isNode);
    server.rate = rate;
    server.jump(offset);
    return server;
  }

  #keep(): Keeping {
    const { world, history, verdict, incidents, servers } = this;
    const { scheme } = this.#plan;
    const terms = {
      scheme,
      scriptOf,
      alias: (text: string) => this.#alias(text),
      mayNotKnow: (hold: Hold, lostAt: number) => this.excuses.mayNotKnow(hold, lostAt),
      isForcing: (client: string, lock: string) => this.#waits.isForcing(client, lock),
      isBusyWith: (id: string, lock: string) => {
        const asker = this.#askers.get(id);
        const isIts = ({ by, operation }: Attempt): boolean => by === asker && operation.locks.includes(lock);
        // A request for several ends when one of them is stolen; its code holds the others until it ends.
        return this.#waits.open.some(isIts) || this.#beliefs.open.some(({ terms: { attempt } }) => isIts(attempt));
      },
      isGone: (id: string) => {
        const asker = this.#askers.get(id);
        return asker === undefined || asker.isClosed || asker.process.isDead;
      },
      isTroubled: (id: string, since: number) => {
        const asker = this.#askers.get(id);
        const { now } = this.world;
        if (!asker || asker.process.blockedBetween(since, now) > 0) return true;
        return this.incidents.of(asker.name).some(({ until, from }) => from <= now && until >= since);
      },
    };
    const [only] = servers as [SimulatedServer];
    return servers.length === 1
      ? new Ledger(world, only, history, verdict, terms)
      : new Quorum(world, servers, history, verdict, incidents, terms);
  }

  run(): Outcome {
    const { world, servers } = this;
    const { length, steps, clients } = this.#plan;
    for (const server of servers) server.start(server.real, []);
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
    const { commands } = this.keeping;
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
    this.excuses.forget(machine.process.name);
    for (const link of machine.links) {
      const serverNotices = silent ? 120_000 : link.latency();
      link.breakAll({ deafFor: 0, clientNotices: 0, serverNotices });
    }
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
        for (const driver of machine.drivers) driver.end();
      });
    }
    world.run(world.now + KEYS_LAST);
    for (const { process, links } of this.machines.values()) {
      if (process.isDead) continue;
      const left = process.pendingTimers > 0 ? [`${process.pendingTimers} timers`] : [];
      const connections = links.reduce((sum, link) => sum + link.connections.size, 0);
      if (connections > 0) left.push(`${connections} connections`);
      if (left.length > 0) this.verdict.fail("nothing is left", `${process.name} has ${left.join(" and ")}`);
    }
    const counters = this.servers.length > 1 ? LOCKS.map((lock) => `{${PREFIX}${lock}}:fence`) : [];
    this.#lookForKeys([`${PREFIX}:fence`, `${PREFIX}:set:fence`, ...counters], "after all have gone");
    world.run(world.now + HOUR);
    this.#lookForKeys([], "an hour later");
    return length;
  }

  #lookForKeys(allowed: readonly string[], when: string): void {
    for (const server of this.servers) {
      const [keys] = server.admin("KEYS", "*");
      const left = (keys as string[]).filter((key) => !isOfNode(key) && !allowed.includes(key)).sort();
      if (left.length > 0)
        this.verdict.fail("nothing is left", `${server.told}${this.#alias(left.join(", "))} ${when}`);
    }
  }

  #bound({ by, operation }: Attempt, since: number): number {
    const { scheme } = this.#plan;
    if (scheme !== "lua" || !this.excuses.isCalmAt(since)) return SERVICE[scheme];
    // Only the first in line look when a lease ends. If they are all in one process that is blocked, nobody does.
    const isBlockedInLine = (other: Attempt): boolean =>
      other.by !== by &&
      other.operation.locks.some((lock) => operation.locks.includes(lock)) &&
      other.by.process.blockedBetween(since, this.world.now) > 0;
    if (this.#waits.open.some(isBlockedInLine)) return SERVICE[scheme];
    // Whoever is let in and has just left keeps the lock for the claim window; then there are 4 L.
    return CLAIM + 4 * by.latency + by.process.blockedBetween(since, this.world.now);
  }

  #boot(plan: ClientPlan, lives: number): void {
    const { world } = this;
    const name = lives === 0 ? plan.name : `${plan.name}${lives + 1}`;
    const process = new Process(world, name, this.#random.fork(`process ${name}`), plan);
    const links = this.servers.map((_, i) => {
      return new Link(world, process, this.#random.fork(i === 0 ? `link ${name}` : `link ${name} ${i}`), plan);
    });
    if (lives > 0) this.history.add(name, "starts");
    process.hitches = 0;
    process.receive(() => {
      const drivers = links.map((link, node) => {
        const events: NetworkEvents = {
          lost: (purpose) => this.excuses.disturb(name, node, purpose),
          ready: (purpose) => this.excuses.settle(name, node, purpose),
          heard: (text) => this.keeping.heard(text, node),
        };
        return new SimulatedDriver(link, () => this.servers[node], { ...plan, events });
      });
      // The library knows each for a client of ioredis, and finds its driver made already.
      const clients = drivers.map((driver) => {
        const client = { call: nothing, multi: nothing, duplicate: nothing, status: "ready", options: {} };
        return { client, mine: share(client, () => driver) };
      });
      const all = clients.map((each) => each.client);
      const client = all.length === 1 ? (all[0] as object) : all;
      const program = this.#program(name, plan, process, client);
      process.onStep = (wasInput) => {
        for (const each of machine.programs) each.stepped(wasInput);
      };
      const leave = (): void => clients.forEach(({ mine }) => mine.close());
      const machine: Machine = { plan, lives: lives + 1, process, links, drivers, client, programs: [program], leave };
      this.machines.set(plan.name, machine);
      process.hitches = plan.hitches;
    });
  }

  #program(name: string, plan: ClientPlan, process: Process, client: object): Program {
    const { scheme } = this.#plan;
    const terms = { scheme, label: name, prefix: PREFIX, ...(scheme === "set" ? {} : { turn: plan.turn }) };
    const manager = new LockManager(client as never, terms);
    const id = process.lastDrawn;
    this.#aliases.set(id, name);
    const latency = plan.latency * (1 + plan.jitter);
    const asker = { name, process, id, turn: plan.turn, latency, isClosed: false };
    this.#askers.set(id, asker);
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
      if (operation.do !== "close") return;
      const { plan, process, client } = machine;
      machine.programs.push(this.#program(`${program.asker.name}'`, plan, process, client));
    });
  }

  #alias(text: string): string {
    return text.replace(/[\w-]{22}(?=[:"\s]|$)/g, (id) => this.#aliases.get(id) ?? id);
  }
}

function nothing(): void {}

const SCRIPTS = [...Object.values(one), ...Object.values(several)] as readonly (
  typeof one.acquire | typeof several.ask
)[];

function scriptOf([verb, source = ""]: readonly string[]): string | undefined {
  if (verb !== "EVALSHA" && verb !== "EVAL") return undefined;
  return SCRIPTS.find((script) => script.sha === source || script.source === source)?.name;
}

const KEYS = new Map(LOCKS.map((lock) => [PREFIX + lock, lock as string]));

function lockOf(key: string): string | undefined {
  return KEYS.get(key);
}

function keysOf(lock: string): string[] {
  const key = PREFIX + lock;
  return [key, `{${key}}:holders`, `{${key}}:queue`];
}
