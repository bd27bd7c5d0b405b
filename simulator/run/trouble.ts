/** Lets the faults of a plan happen. */
import type { Cause } from "../checks/attempt.ts";
import type { Connection } from "../network/connection.ts";
import type { Link } from "../network/link.ts";
import { LOCKS } from "../plan/plan.ts";
import type { Fault, Step } from "../plan/plan.ts";
import type { RealServer, Snapshot } from "../server/real.ts";
import type { SimulatedServer } from "../server/server.ts";
import type { Process } from "../world/process.ts";
import type { World } from "../world/world.ts";
import type { Excuses } from "./excuses.ts";
import type { Ledger } from "../checks/ledger.ts";
import type { History } from "../checks/history.ts";

/** Whom it may strike. */
interface Victims {
  readonly world: World;
  readonly server: SimulatedServer;
  readonly ledger: Ledger;
  readonly history: History;
  readonly excuses: Excuses;
  readonly machines: ReadonlyMap<string, { readonly process: Process; readonly link: Link }>;
  crash(name: string, silent: boolean, back: number): void;
}

/** How long clients take to find a server again, and to find out that they have lost it. */
const RECONNECTION = 7_000;

export class Trouble {
  readonly #victims: Victims;
  readonly #real: readonly [RealServer, RealServer];
  readonly #snapshotEvery: number;
  #snapshot: Snapshot = [];

  constructor(victims: Victims, real: readonly [RealServer, RealServer], snapshotEvery: number) {
    this.#victims = victims;
    this.#real = real;
    this.#snapshotEvery = snapshotEvery;
  }

  /** Keep old snapshots for those restarts that find one. */
  prepare(steps: readonly Step[]): void {
    const { world, server } = this.#victims;
    for (const step of steps) {
      if (!("trouble" in step) || step.trouble.fault !== "restart" || step.trouble.memory !== "old") continue;
      world.at(step.at - this.#snapshotEvery, () => {
        if (!server.isDown) this.#snapshot = server.snapshot();
      });
    }
  }

  /** Nothing goes wrong any more. */
  end(): void {
    const { server, machines } = this.#victims;
    server.trouble = undefined;
    for (const { process } of machines.values()) process.thaw();
  }

  strike(fault: Fault): void {
    const { history, machines, excuses } = this.#victims;
    excuses.upset();
    const { fault: name, ...terms } = fault;
    history.add("***", () => `${name} ${JSON.stringify(terms)}`);
    if ("client" in fault) {
      const machine = machines.get(fault.client);
      if (machine && !machine.process.isDead) this.#strikeClient(fault, machine);
      return;
    }
    if (this.#victims.server.isDown) return;
    this.#strikeServer(fault);
  }

  #strikeClient(
    fault: Extract<Fault, { readonly client: string }>,
    { process, link }: { readonly process: Process; readonly link: Link },
  ): void {
    const { world, excuses } = this.#victims;
    const { now } = world;
    switch (fault.fault) {
      case "crash":
        return this.#victims.crash(fault.client, fault.silent, fault.back);
      case "freeze":
      case "sleep":
        if (!process.isRunning) return;
        excuses.disturbUntil(process.name, now + fault.time);
        if (fault.fault === "freeze") process.freeze();
        else process.sleep();
        world.at(now + fault.time, () => process.thaw());
        return;
      case "stall":
        excuses.disturbUntil(process.name, now + fault.time);
        return link.stall(fault.time);
      case "slow":
        excuses.disturbUntil(process.name, now + fault.time + 1_000);
        return link.slow(fault.factor, fault.time);
      case "break": {
        const isMeant = ({ purpose }: Connection): boolean => fault.which === "all" || purpose === fault.which;
        excuses.disturbUntil(process.name, now + Math.max(fault.clientNotices, fault.deafFor) + RECONNECTION);
        return link.breakAll(fault, isMeant);
      }
    }
  }

  #strikeServer(fault: Exclude<Fault, { readonly client: string }>): void {
    const { world, server, excuses, ledger } = this.#victims;
    const { now } = world;
    switch (fault.fault) {
      case "restart":
        return this.#restart(fault.memory, fault.down);
      case "freeze server":
        excuses.disturbAll(now + fault.time + RECONNECTION);
        return server.freeze(fault.time);
      case "clock jump":
        excuses.disturbAll(now);
        server.jump(fault.by);
        if (fault.by > 0) ledger.jumped(server, fault.by);
        return this.#look("clock jumped");
      case "out of memory":
      case "read only":
      case "loading":
        excuses.disturbAll(now + fault.time + RECONNECTION);
        server.trouble = troubles[fault.fault];
        world.at(now + fault.time, () => void (server.trouble = undefined));
        return;
      case "forget scripts":
        server.admin("SCRIPT", "FLUSH");
        return;
      case "foreign holder":
        server.admin("SET", `lock:${fault.lock}`, "somebody else", "NX", "PX", String(Math.ceil(fault.hold)));
        return this.#look(undefined);
      case "delete":
        server.admin("DEL", `lock:${fault.lock}`);
        return this.#look("deleted");
    }
  }

  #restart(memory: "kept" | "lost" | "old", down: number): void {
    const { world, server, excuses, ledger } = this.#victims;
    excuses.disturbAll(world.now + down + RECONNECTION);
    const kept = server.snapshot();
    server.stop(() => 1);
    const snapshot = memory === "kept" ? kept : memory === "lost" ? [] : this.#snapshot;
    const next = server.real === this.#real[0] ? this.#real[1] : this.#real[0];
    world.at(world.now + down, () => {
      server.start(next, snapshot);
      if (memory !== "kept") ledger.forgot(server);
      this.#look("memory lost");
    });
  }

  #look(cause: Cause | undefined): void {
    const { ledger, server } = this.#victims;
    ledger.looked(server, server.look(LOCKS), cause);
  }
}

const writes = new Set(["SET", "DEL", "EVAL", "EVALSHA", "MULTI", "EXEC", "INCRBY", "BITFIELD", "PEXPIRE"]);

function refusing(message: string, all: boolean): (command: readonly string[]) => Error | undefined {
  return ([verb = ""]) => {
    if (verb === "SUBSCRIBE" || verb === "UNSUBSCRIBE") return undefined;
    return all || writes.has(verb) ? new Error(message) : undefined;
  };
}

const troubles = {
  "out of memory": refusing("OOM command not allowed when used memory > 'maxmemory'.", false),
  "read only": refusing("READONLY You can't write against a read only replica.", false),
  loading: refusing("LOADING Redis is loading the dataset in memory", true),
};
