/** Lets the faults of a plan happen. */
import type { History } from "../checks/history.ts";
import type { Incidents } from "../checks/incidents.ts";
import type { Keeping } from "../checks/keeping.ts";
import type { Connection } from "../network/connection.ts";
import type { Link } from "../network/link.ts";
import type { Fault, Step } from "../plan/plan.ts";
import type { RealServer, Snapshot } from "../server/real.ts";
import type { SimulatedServer } from "../server/server.ts";
import type { Process } from "../world/process.ts";
import type { World } from "../world/world.ts";
import type { Excuses } from "./excuses.ts";

/** Whom it may strike. */
interface Victims {
  readonly world: World;
  readonly servers: readonly SimulatedServer[];
  readonly keeping: Keeping;
  readonly history: History;
  readonly excuses: Excuses;
  readonly incidents: Incidents;
  readonly machines: ReadonlyMap<string, Machine>;
  crash(name: string, silent: boolean, back: number): void;
}

interface Machine {
  readonly process: Process;
  /** One to each server. */
  readonly links: readonly Link[];
}

/** How long clients take to find a server again, and to find out that they have lost it. */
const RECONNECTION = 7_000;

export class Trouble {
  readonly #victims: Victims;
  /** In whose place a server that is restarted runs, if there is one: the two take turns. */
  #spare: RealServer | undefined;
  readonly #snapshotEvery: number;
  readonly #snapshots = new Map<SimulatedServer, Snapshot>();

  constructor(victims: Victims, spare: RealServer | undefined, snapshotEvery: number) {
    this.#victims = victims;
    this.#spare = spare;
    this.#snapshotEvery = snapshotEvery;
  }

  /** Keep old snapshots for those restarts that find one. */
  prepare(steps: readonly Step[]): void {
    const { world } = this.#victims;
    for (const step of steps) {
      if (!("trouble" in step) || step.trouble.fault !== "restart" || step.trouble.memory !== "old") continue;
      for (const server of this.#serversOf(step.trouble)) {
        world.at(step.at - this.#snapshotEvery, () => {
          if (!server.isDown) this.#snapshots.set(server, server.snapshot());
        });
      }
    }
  }

  /** Nothing goes wrong any more. */
  end(): void {
    const { servers, machines } = this.#victims;
    for (const server of servers) server.trouble = undefined;
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
    for (const server of this.#serversOf(fault)) if (!server.isDown) this.#strikeServer(fault, server);
  }

  #serversOf({ nodes }: Fault): readonly SimulatedServer[] {
    const { servers } = this.#victims;
    return nodes ? servers.filter((_, node) => nodes.includes(node)) : servers;
  }

  #strikeClient(fault: Extract<Fault, { readonly client: string }>, { process, links }: Machine): void {
    const { world } = this.#victims;
    switch (fault.fault) {
      case "crash":
        return this.#victims.crash(fault.client, fault.silent, fault.back);
      case "freeze":
      case "sleep":
        if (!process.isRunning) return;
        this.#disturb(process, undefined, fault.time);
        if (fault.fault === "freeze") process.freeze();
        else process.sleep();
        world.at(world.now + fault.time, () => process.thaw());
        return;
      default:
        for (const [node, link] of links.entries()) {
          if (fault.nodes && !fault.nodes.includes(node)) continue;
          this.#strikeLink(fault, process, link, fault.nodes && node);
        }
    }
  }

  /** @param node to which it leads, if it is not the only one that is struck */
  #strikeLink(
    fault: Extract<Fault, { readonly fault: "stall" | "slow" | "break" }>,
    process: Process,
    link: Link,
    node: number | undefined,
  ): void {
    switch (fault.fault) {
      case "stall":
        this.#disturb(process, node, fault.time);
        return link.stall(fault.time);
      case "slow":
        this.#disturb(process, node, fault.time + 1_000);
        return link.slow(fault.factor, fault.time);
      case "break": {
        const isMeant = ({ purpose }: Connection): boolean => fault.which === "all" || purpose === fault.which;
        this.#disturb(process, node, Math.max(fault.clientNotices, fault.deafFor) + RECONNECTION);
        return link.breakAll(fault, isMeant);
      }
    }
  }

  #strikeServer(fault: Exclude<Fault, { readonly client: string }>, server: SimulatedServer): void {
    const { world, keeping } = this.#victims;
    switch (fault.fault) {
      case "restart":
        return this.#restart(server, fault.memory, fault.down);
      case "freeze server":
        this.#disturbAll(server, fault.time + RECONNECTION);
        return server.freeze(fault.time);
      case "clock jump":
        this.#disturbAll(server, 0);
        server.jump(fault.by);
        if (fault.by > 0) keeping.jumped(server, fault.by);
        return keeping.changed(server, "clock jumped");
      case "out of memory":
      case "read only":
      case "loading":
        this.#disturbAll(server, fault.time + RECONNECTION);
        server.trouble = troubles[fault.fault];
        world.at(world.now + fault.time, () => void (server.trouble = undefined));
        return;
      case "forget scripts":
        server.admin("SCRIPT", "FLUSH");
        return;
      case "foreign holder":
        server.admin("SET", `lock:${fault.lock}`, "somebody else", "NX", "PX", String(Math.ceil(fault.hold)));
        return keeping.changed(server, undefined);
      case "delete":
        server.admin("DEL", `lock:${fault.lock}`);
        return keeping.changed(server, "deleted", fault.lock);
    }
  }

  #restart(server: SimulatedServer, memory: "kept" | "lost" | "old", down: number): void {
    const { world, keeping } = this.#victims;
    this.#disturbAll(server, down + RECONNECTION);
    const kept = server.snapshot();
    server.stop(() => 1);
    const snapshot = memory === "kept" ? kept : memory === "lost" ? [] : (this.#snapshots.get(server) ?? []);
    const next = this.#spare ?? server.real;
    if (this.#spare) this.#spare = server.real;
    world.at(world.now + down, () => {
      server.start(next, snapshot);
      if (memory !== "kept") keeping.forgot(server);
      keeping.changed(server, "memory lost");
    });
  }

  /** @param node undefined: all of the client @param time for how long */
  #disturb({ name }: Process, node: number | undefined, time: number): void {
    const { incidents, world } = this.#victims;
    incidents.add(world.now + time, { client: name, node });
  }

  /** Everybody who uses the server. */
  #disturbAll(server: SimulatedServer, time: number): void {
    const { incidents, world, servers } = this.#victims;
    incidents.add(world.now + time, { node: servers.indexOf(server) });
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
