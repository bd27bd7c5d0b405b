/** All checks, in the order in which findings of one severity are shown. */
import type { Check } from "../finding.ts";
import { clock } from "./clock.ts";
import { cluster } from "./cluster.ts";
import { connections } from "./connections.ts";
import { eviction } from "./eviction.ts";
import { foreign } from "./foreign.ts";
import { identity } from "./identity.ts";
import { latency } from "./latency.ts";
import { memory } from "./memory.ts";
import { persistence } from "./persistence.ts";
import { pushes } from "./pushes.ts";
import { replication } from "./replication.ts";
import { rights } from "./rights.ts";
import { version } from "./version.ts";
import { visibility } from "./visibility.ts";

export const CHECKS: readonly Check[] = [
  rights,
  eviction,
  memory,
  replication,
  persistence,
  identity,
  cluster,
  clock,
  latency,
  pushes,
  connections,
  foreign,
  version,
  visibility,
];
