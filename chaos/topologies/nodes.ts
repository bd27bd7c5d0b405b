/** Independent servers, of which a majority decides. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Server, startServer } from "../../scripts/servers.ts";
import { ask } from "../../scripts/topologies.ts";
import type { Way } from "../client/spec.ts";
import type { Plan } from "../plan/plan.ts";
import { Routes } from "./routes.ts";
import type { Topology } from "./topology.ts";

/** How long a node that has forgotten everything may be left out of the votes, in milliseconds. */
const LEFT_OUT = 40_000;

export async function openNodes({ clients }: Plan, count: number): Promise<Topology> {
  const servers = await Promise.all(Array.from({ length: count }, () => startServer()));
  const names = clients.map(({ name }) => name);
  return new Nodes(servers, await Routes.open(names, servers));
}

class Nodes implements Topology {
  readonly servers: readonly Server[];
  readonly routes: Routes;
  readonly hasDisk = false;
  readonly maySpare: number;

  constructor(servers: readonly Server[], routes: Routes) {
    this.servers = servers;
    this.routes = routes;
    this.maySpare = Math.floor((servers.length - 1) / 2);
  }

  way(client: string): Way {
    return { kind: "nodes", ports: this.routes.ports(client) };
  }

  async primaries(): Promise<readonly Server[]> {
    return this.servers;
  }

  /** Its mark is that of the process that runs, so it votes again. */
  async restored(server: Server): Promise<void> {
    const until = performance.now() + LEFT_OUT;
    const isMarked = async (): Promise<boolean> => {
      const info = String(await ask(server, "INFO", "server"));
      return /^run_id:(\w+)/m.exec(info)?.[1] === (await ask(server, "HGET", "lock::node", "run"));
    };
    while (!(await isMarked().catch(() => false))) {
      if (performance.now() > until)
        throw new Error(`${server.url} does not vote again, ${LEFT_OUT} ms after its start.`);
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    await this.routes.close();
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}
