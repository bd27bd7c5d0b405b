/** One server, without a disk or with an append-only file. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Server, findServerBinary, startServer } from "../../scripts/servers.ts";
import type { Way } from "../client/spec.ts";
import type { Plan } from "../plan/plan.ts";
import { Routes } from "./routes.ts";
import type { Topology } from "./topology.ts";

export async function openOne({ clients, fsync }: Plan): Promise<Topology> {
  const names = clients.map(({ name }) => name);
  if (fsync === undefined) {
    const server = await startServer();
    return new One(server, await Routes.open(names, [server]));
  }
  const folder = await mkdtemp(join(tmpdir(), "holdfast-chaos-binary-"));
  // A file that may not grow ends a process with a signal, which a full disk does not; so it is ignored.
  const binary = join(folder, "redis-server");
  await writeFile(binary, `#!/bin/sh\ntrap '' XFSZ\nexec ${await findServerBinary()} "$@"\n`);
  await chmod(binary, 0o755);
  const server = await startServer({ binary, args: ["--appendonly", "yes", "--appendfsync", fsync] });
  return new One(server, await Routes.open(names, [server]), folder);
}

class One implements Topology {
  readonly servers: readonly [Server];
  readonly hasDisk: boolean;
  readonly maySpare = 1;
  readonly routes: Routes;
  readonly #folder: string | undefined;

  /** @param folder of its binary, if it has a disk */
  constructor(server: Server, routes: Routes, folder?: string) {
    this.servers = [server];
    this.routes = routes;
    this.hasDisk = folder !== undefined;
    this.#folder = folder;
  }

  way(client: string): Way {
    const [port = 0] = this.routes.ports(client);
    return { kind: "one", port };
  }

  async primaries(): Promise<readonly Server[]> {
    return this.servers;
  }

  async restored(): Promise<void> {}

  async stop(): Promise<void> {
    await this.routes.close();
    await this.servers[0].stop();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true });
  }
}
