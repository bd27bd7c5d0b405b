import { holding } from "./holding.ts";
import type { Scenario } from "./scenario.ts";
import { servers } from "./servers.ts";
import { waiting } from "./waiting.ts";

export const scenarios: readonly Scenario[] = [...waiting, ...holding, ...servers];
