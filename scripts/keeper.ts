/** What ends the servers of this process when it ends itself, for whatever reason. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Each server has a folder in this one, and there its pid while it runs. */
let home: string | undefined;
let count = 0;

/** A new folder for a server, in which its pid belongs. It is removed with this process at the latest. */
export function openFolder(): string {
  home ??= startKeeper();
  const folder = join(home, String(++count));
  mkdirSync(folder);
  return folder;
}

/** From now on, until it has ended, the server ends with this process. */
export function keep(server: ChildProcess, folder: string): void {
  if (server.pid === undefined) return;
  const file = join(folder, "pid");
  writeFileSync(file, String(server.pid));
  // Its number may be given to another process.
  server.once("exit", () => rmSync(file, { force: true }));
}

/**
 * A shell that outlives this process: it waits for the end of a pipe, which comes also with SIGKILL, where no handler
 * runs. One serves all servers, because a process as large as one that runs tests takes long to start another.
 */
function startKeeper(): string {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-servers-"));
  const script =
    'while read -r _; do :; done; for file in "$1"/*/pid; do [ ! -e "$file" ] || kill -9 "$(cat "$file")"; done; rm -rf "$1"';
  const keeper = spawn("sh", ["-c", script, "holdfast-keeper", folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true, // so that Ctrl-C in a terminal does not reach it
  });
  keeper.unref();
  (keeper.stdin as typeof keeper.stdin & { unref?(): void }).unref?.(); // Bun has none, and needs none
  return folder;
}
