/** Lets the faults of a plan happen, and keeps a record of them. One that meets what another has broken is left out. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Afflictions, Affliction } from "../checks/affliction.ts";
import type { Fault, FaultName, Plan } from "../plan/plan.ts";
import { describe } from "../plan/draw.ts";
import type { Fleet } from "../processes/fleet.ts";
import type { Topology } from "../topologies/topology.ts";
import { cutRoute } from "./network.ts";
import { strikeServer } from "./servers.ts";
import { failOver } from "./failovers.ts";

export interface Victims {
  readonly plan: Plan;
  readonly fleet: Fleet;
  readonly topology: Topology;
  readonly afflictions: Afflictions;
  readonly say: (line: string) => void;
}

export class Trouble {
  /** Faults that happened, by kind. */
  readonly counts: Map<FaultName, number> = new Map();
  skipped = 0;
  readonly #victims: Victims;
  readonly #busy = new Set<unknown>();
  readonly #running = new Set<Promise<void>>();
  #failure: unknown;

  constructor(victims: Victims) {
    this.#victims = victims;
  }

  strike(fault: Fault): void {
    const running = this.#strike(fault).catch((error: unknown) => {
      this.#failure ??= new Error(`The laboratory failed at: ${describe(fault)}`, { cause: error });
    });
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  /** Resolves once all is healed. @throws if a fault could not be made or healed */
  async over(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure;
  }

  async #strike(fault: Fault): Promise<void> {
    const { plan, fleet, topology } = this.#victims;
    switch (fault.fault) {
      case "kill client":
        return this.#with(fault, [fault.client], fault.client, async () => {
          await fleet.get(fault.client).kill();
          await sleep(fault.time);
          fleet.start(plan.clients.find(({ name }) => name === fault.client)!);
        });
      case "freeze client":
        return this.#with(fault, [fault.client], fault.client, async () => {
          const process = fleet.get(fault.client);
          process.freeze();
          await sleep(fault.time);
          process.thaw();
        });
      case "black hole":
      case "drop replies":
      case "refuse":
      case "delay":
      case "reset": {
        const proxies = topology.routes.select(fault.client, fault.server);
        return this.#with(fault, proxies, fault.client, () => cutRoute(fault, proxies));
      }
      case "kill connections":
      case "forget scripts":
      case "freeze server":
      case "restart server":
      case "fill disk":
      case "slow disk": {
        const server = topology.servers[fault.server]!;
        if (fault.fault === "restart server" && this.#forgetful >= topology.maySpare) return this.#skip();
        return this.#with(fault, [server], undefined, (affliction) =>
          strikeServer(fault, server, affliction, this.#victims),
        );
      }
      case "fail over":
      case "kill primary":
      case "zombie primary":
      case "cut off primary":
      case "move slot":
        // Of those only one at a time, as of those that look after servers only one is at work.
        return this.#with(fault, [topology], undefined, (affliction) => failOver(fault, affliction, this.#victims));
    }
  }

  /** How many servers have forgotten what they knew, and do not take part again yet. */
  get #forgetful(): number {
    return this.#victims.afflictions.all.filter(
      ({ fault, until }) => until === Infinity && fault.startsWith("restart server"),
    ).length;
  }

  #skip(): void {
    this.skipped++;
  }

  async #with(
    fault: Fault,
    targets: readonly unknown[],
    client: string | undefined,
    act: (affliction: Affliction) => Promise<void>,
  ): Promise<void> {
    if (targets.some((target) => this.#busy.has(target))) return this.#skip();
    for (const target of targets) this.#busy.add(target);
    const { afflictions, say } = this.#victims;
    this.counts.set(fault.fault, (this.counts.get(fault.fault) ?? 0) + 1);
    const affliction = afflictions.begin(describe(fault), client);
    say(describe(fault));
    try {
      await act(affliction);
    } finally {
      afflictions.end(affliction);
      for (const target of targets) this.#busy.delete(target);
    }
  }
}
