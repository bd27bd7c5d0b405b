/** The command `holdfast`, as bin/holdfast starts it. */
// First, because it looks at what this process was started with.
import { respectIgnored } from "./inherited.ts";
import { run } from "./program.ts";

respectIgnored();
// Connections and timers of what was given up must not keep a finished command alive.
process.exit(await run(process.argv.slice(2)));
