/** One scenario with one library, in a process of its own: run-one.ts SCENARIO CONTENDER. Prints what was seen, as JSON. */
import { contenders } from "./contenders.ts";
import { Stage } from "./scenario.ts";
import { scenarios } from "./scenarios.ts";

const [scenarioId, contenderId] = process.argv.slice(2);
const scenario = scenarios.find(({ id }) => id === scenarioId)!;
const stage = new Stage(contenders.find(({ id }) => id === contenderId)!);
try {
  const seen = await scenario.run(stage);
  process.stdout.write(`${JSON.stringify(seen)}\n`);
} finally {
  await stage[Symbol.asyncDispose]();
}
process.exit();
