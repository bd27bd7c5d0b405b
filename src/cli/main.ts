/** The command `holdfast`, as bin/holdfast starts it. */
import { respectIgnored } from "./inherited.ts";

// First, because it looks at what this process was started with.
respectIgnored();
const { run } = await import("./program.ts");
// Connections and timers of abandoned calls must not keep a finished command alive.
process.exit(await run(process.argv.slice(2)));
