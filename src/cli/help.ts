/** The longer texts of --help. In 80 columns. */

const SERVERS = `
Servers:
  redis://[[user]:password@]host[:port][/db]    (rediss:// for TLS)
  unix://[[user]:password@]/path[?db=N]
  redis+sentinel://[user:password@]host[:port][,host...]/master[/db]
  redis+cluster://[user:password@]host[:port][,host...]
For Redlock over several servers, repeat --redis, or put several URLs into
REDIS_URL, separated by spaces.`;

const EXIT_CODES = `
Exit codes:
   64  wrong usage
   69  the server, or the client library for it, cannot be used
   70  the lock was lost while the command was running
   71  unexpected failure of holdfast
   74  the output could not be written
   75  the lock was not free in time
  126  the command cannot be executed
  127  the command was not found
Otherwise the exit code of the command, or 128 + the number of the signal that
ended it.`;

const RUNNING = `
The command runs without a shell. It finds HOLDFAST_LOCK, HOLDFAST_FENCE and
HOLDFAST_TOKEN in its environment. Signals sent to holdfast are forwarded to it
and its children; a third Ctrl-C in a row kills them. If the lock is lost, they
get SIGTERM, then SIGKILL. If holdfast itself is killed (SIGKILL), the command
keeps running: make whatever it writes to reject an older HOLDFAST_FENCE.

Durations: 500ms, 30s, 2m, 1h.`;

const JSON_FORM = `
JSON (one object per lock; null means unknown, times are in milliseconds,
waiters are in the order of the queue):
  {"name", "mode": "exclusive" | "shared" | null if nobody holds it,
   "limit": the permits of a semaphore | null for a lock,
   "holders": [{"label", "token", "fence", "remaining", "permits"}],
   "waiters": [{"label", "token", "mode", "permits"}]}

Waiters of scheme "set" or Redlock are not in a queue and are not shown.`;

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`;
}

export const PROGRAM_HELP: string = [
  examples(
    "holdfast exec backup -- ./backup.sh      one at a time, on all machines",
    "holdfast elect scheduler -- ./scheduler  running on exactly one machine",
    "holdfast once report --at-most 1h --at-least 10m -- ./report",
    "holdfast ls                              who holds and who waits",
    "holdfast watch                           the same, live",
  ),
  '\n"holdfast help COMMAND" explains a command.',
  EXIT_CODES,
].join("\n");

export const EXEC_HELP: string = [
  examples(
    "holdfast exec backup -- ./backup.sh --all",
    "holdfast exec deploy --wait 30s -- sh -c 'make && make install'",
    "holdfast exec gpu --permits 1/4 -- ./train     at most four at a time",
    "holdfast exec sync --wait 0 --conflict-exit-code 0 --quiet -- ./sync",
  ),
  RUNNING,
  SERVERS,
  EXIT_CODES,
].join("\n");

export const ELECT_HELP: string = [
  examples("holdfast elect scheduler -- ./scheduler"),
  RUNNING,
  SERVERS,
  EXIT_CODES,
].join("\n");

export const ONCE_HELP: string = [
  examples("holdfast once report --at-most 1h --at-least 10m --quiet -- ./report"),
  RUNNING,
  SERVERS,
  EXIT_CODES,
].join("\n");

export const LS_HELP: string = [examples("holdfast ls", "holdfast ls 'invoice:*' --json"), JSON_FORM, SERVERS].join(
  "\n",
);

export const SHOW_HELP: string = [
  examples("holdfast show backup", "holdfast show backup --json"),
  JSON_FORM,
  SERVERS,
].join("\n");

export const RELEASE_HELP: string = [
  examples("holdfast release backup           show who holds it", "holdfast release backup --force   take it away"),
  `
The holder's process is notified and its command stopped. A holder of scheme
"set" or Redlock finds out only when it next renews its lease, within a third of
its ttl. The holder of another library's key is not notified at all.`,
  SERVERS,
].join("\n");
