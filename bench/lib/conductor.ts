import type { Contender } from "../contenders/index.ts";
import type { Entry } from "./results.ts";
import type { Mode, Scenario } from "./scenario.ts";
import { Server } from "./server.ts";
import { Team } from "./team.ts";

export interface Order {
  readonly scenario: Scenario;
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  readonly mode: Mode;
  readonly server: Server;
  readonly tell: (line: string) => void;
}

/** Every round measures every contender once, each in fresh processes, and no two rounds begin with the same one. */
export async function conduct({ scenario, contenders, rounds, mode, server, tell }: Order): Promise<Entry[]> {
  const takes = contenders.filter((contender) => scenario.takes(contender));
  const entries = takes.map(({ id }): Entry => ({ contender: id, samples: [], faults: {} }));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < takes.length; i++) {
      const at = (i + round) % takes.length;
      const contender = takes[at]!;
      const { samples, faults } = entries[at]!;
      tell(`${scenario.name}: round ${round + 1} of ${rounds}, ${contender.title}`);
      await server.clear();
      const team = new Team(scenario.name, contender.id, server);
      const more: Promise<Server>[] = [];
      const nodes = (count: number): Promise<Server[]> => {
        const started = Array.from({ length: count }, () => Server.start());
        more.push(...started);
        return Promise.all(started);
      };
      try {
        const hire = team.hire.bind(team);
        samples.push(await scenario.measure({ contender, server, mode, round, hire, nodes }));
      } catch (error) {
        note(faults, `failed: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`, 1);
      } finally {
        await team.dismiss();
        for (const node of await Promise.allSettled(more)) if (node.status === "fulfilled") await node.value.stop();
      }
      for (const [fault, count] of team.faults) note(faults, fault, count);
    }
  }
  return entries;
}

function note(faults: Record<string, number>, fault: string, count: number): void {
  faults[fault] = (faults[fault] ?? 0) + count;
}
