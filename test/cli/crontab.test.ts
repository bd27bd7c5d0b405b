/** The crontab lines of docs/command-line.md, as cron runs them on several machines. */
import { readFileSync } from "node:fs";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { launcher, useCommandLine, useFolder } from "../support/cli.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();

const page = readFileSync(new URL("../../docs/command-line.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/```crontab\n([^]*?)```/g)].map(([, block = ""]) => block);
/** Minute, hour, day, month, weekday; then what cron passes to the shell. */
const lines = [...blocks.join("").matchAll(/^(?:[\d*/]+ +){5}(.*)$/gm)].map(([, line = ""]) => line);

test("there are such lines", () => {
  expect(lines).toHaveLength(2);
});

test.each(lines)("one machine runs the command, and nobody prints anything or fails: %s", async (line) => {
  const folder = await useFolder(onTestFinished);
  const [log, go] = [join(folder, "log"), join(folder, "go")];
  await writeFile(log, "");
  const program = join(folder, "program");
  await writeFile(program, `#!/bin/sh\necho ran >>'${log}'\nuntil [ -e '${go}' ]; do sleep 0.05; done\n`, {
    mode: 0o755,
  });
  await symlink(launcher, join(folder, "holdfast"));
  const command = line.replace(/\/usr\/local\/bin\/\w+/, program);
  expect(command).toContain(program);
  const PATH = `${folder}:${dirname(process.execPath)}:/usr/bin:/bin`;
  const environment = [
    `REDIS_URL=${cli.server.url}`,
    `PATH=${PATH}`,
    "SHELL=/bin/sh",
    "LOGNAME=nobody",
    `HOME=${folder}`,
  ];
  const machine = () => cli.startProgram("env", ["-i", ...environment, "/bin/sh", "-c", command]);
  const machines = [machine(), machine(), machine()];
  await until(() => machines.filter(({ over }) => over).length === 2, "those that do not run it had ended", 15_000);
  await writeFile(go, "");
  for (const { ended } of machines) expect(await ended).toMatchObject({ code: 0, stdout: "", stderr: "" });
  expect(await readFile(log, "utf8")).toBe("ran\n");
});
