/** Has Node write down which code runs in the processes that tests start, such as the command's. */
import { fileURLToPath } from "node:url";

process.env["NODE_V8_COVERAGE"] = fileURLToPath(new URL("../../.cache/coverage/children", import.meta.url));
