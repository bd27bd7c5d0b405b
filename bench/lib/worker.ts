// A process that plays one role of one scenario with one contender, told what to do by the conductor.
import { contenderNamed, type Session } from "../contenders/index.ts";
import { scenarioNamed } from "../scenarios/index.ts";
import type { Methods } from "./scenario.ts";

export interface Order {
  readonly id: number;
  readonly method: string;
  readonly args: unknown;
}

export type Report =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly fault: string };

const [scenario, role, contenderId, ...urls] = process.argv.slice(2) as [string, string, string, ...string[]];

function tell(report: Report): void {
  process.send!(report);
}

// A rival's stray rejection is told in the results; it does not end the measurement.
process.on("unhandledRejection", (reason) => tell({ fault: `unhandled rejection: ${String(reason)}` }));
process.on("disconnect", () => process.exit());

const contender = contenderNamed(contenderId);
const session = await (urls.length > 1 ? overNodes() : (await contender.load())(urls[0]!));
const methods: Methods = scenarioNamed(scenario).roles[role]!(session);

async function overNodes(): Promise<Session> {
  return (await contender.loadNodes!())(urls);
}

async function obey({ id, method, args }: Order): Promise<void> {
  try {
    tell({ id, result: await methods[method]!(args as never) });
  } catch (error) {
    tell({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}

process.on("message", (order: Order) => void obey(order));
tell({ id: 0, result: "ready" });
