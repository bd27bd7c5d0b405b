/** A master with replicas that copy it. */
import type { Server } from "../servers.ts";
import { facts, host, isLinked, settled } from "./asking.ts";
import { toldPort } from "./fronts.ts";
import { type MemberOptions, quickSync, ready, startAll, startWith, Topology, withArgs } from "./topology.ts";

export class Replicated extends Topology {
  readonly master: Server;
  readonly replicas: readonly Server[];
  readonly servers: readonly Server[];

  constructor(master: Server, replicas: readonly Server[]) {
    super();
    this.master = master;
    this.replicas = replicas;
    this.servers = [master, ...replicas];
  }

  /** Waits until every replica has all that the master has written so far. */
  async inSync(): Promise<void> {
    const state = { master: await facts(this.master, "INFO", "replication") };
    const written = Number(state.master["master_repl_offset"]);
    const caughtUp = async (replica: Server): Promise<boolean> => {
      const { slave_repl_offset } = await facts(replica, "INFO", "replication");
      return (await isLinked(replica, this.master)) && Number(slave_repl_offset) >= written;
    };
    for (const replica of this.replicas) await settled(() => caughtUp(replica), `${replica.url} was in sync`);
  }
}

/** Starts a master and that many replicas, and waits until all are online and in sync. */
export async function startReplicated(count: number, options: MemberOptions = {}): Promise<Replicated> {
  const [master] = (await startAll([() => startWith(options.password, withArgs(options, quickSync))])) as [Server];
  const replica = withArgs(options, [...quickSync, "--replicaof", host, `${toldPort(master)}`]);
  try {
    const replicas = await startAll(Array.from({ length: count }, () => () => startWith(options.password, replica)));
    const replicated = new Replicated(master, replicas);
    const online = async (): Promise<boolean> => {
      const state = await facts(master, "INFO", "replication");
      return Object.values(state).filter((value) => value.includes("state=online")).length === count;
    };
    return await ready(replicated, async () => {
      await settled(online, `${count} replicas were online`);
      await replicated.inSync();
    });
  } catch (error) {
    await master.stop();
    throw error;
  }
}
