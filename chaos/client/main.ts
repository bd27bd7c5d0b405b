/**
 * The program of one client process: a manager on the built library, and workers that use it until the pipe of its
 * standard input is closed. It ends by itself when nothing keeps it running: whatever the library leaves behind, such as
 * a timer or a socket, shows as a process that does not end.
 */
import { Random } from "../../simulator/world/random.ts";
import { open } from "./connect.ts";
import { Journal, now } from "./journal.ts";
import { RegisterClient } from "./register.ts";
import type { ClientSpec } from "./spec.ts";
import { Work } from "./work.ts";

/** How often the program looks whether it was left without processor time, and what it writes down, in milliseconds. */
const TICK = 50;
const STALL = 250;

const spec = JSON.parse(process.argv[2] ?? "{}") as ClientSpec;
const journal = new Journal(spec.journal);
const { plan, mistake } = spec;
const ending = new Promise<void>((resolve) => process.stdin.on("end", resolve).resume());
journal.add({ e: "up", client: plan.name, pid: process.pid });

let ticked = now();
const watch = setInterval(() => {
  const t = now();
  if (t - ticked > STALL) journal.add({ e: "stalled", from: ticked }, t);
  ticked = t;
}, TICK);

const opened = await open(spec);
const register = new RegisterClient(spec.register);
const isRedlock = spec.way.kind === "nodes";
const work = new Work({
  locks: opened.locks,
  journal,
  register,
  isRedlock,
  ttl: plan.ttl,
  isAlone: plan.turn === 1,
  mistake,
  del: (key) => opened.del(key),
});
// A process that is started again does other things than the one before it.
const chances = new Random(`${plan.seed} ${process.pid}`);
if (spec.isSweep) {
  journal.add({ e: "closing" });
  await work.sweep();
} else {
  const workers = Array.from({ length: plan.workers }, (_, i) => work.run(chances.fork(i)));
  await ending;
  journal.add({ e: "closing" });
  work.stop();
  await Promise.all(workers);
}
await opened.close();
register.close();
clearInterval(watch);
journal.add({ e: "down" });
