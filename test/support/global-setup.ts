import { generatePage } from "../../scripts/generate-page.ts";
import { findServerBinary } from "../../scripts/servers.ts";
import { program } from "./processes.ts";
import { compile } from "./programs.ts";

/** Before any worker starts, so that a missing server is one clear sentence and not a failure of every file. */
export default async function setup(): Promise<void> {
  if (!process.env["REDIS_URL"]) await findServerBinary();
  await generatePage();
  await compile(program);
}
