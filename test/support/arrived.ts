/** Whether a server has what was sent to it while this process does nothing, not even its event loop. */
import { spawnSync } from "node:child_process";
import { expect } from "vitest";
import { type Driver } from "../../src/drivers/driver.ts";
import { unique } from "./locks.ts";

export interface Reach {
  readonly port: number;
  /** Of a server that speaks TLS: what a client shows it. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** Asks again and again for the key, up to this long. */
const PATIENCE = 3_000;

const SCRIPT = `
  const { port, tls, key, value, patience } = JSON.parse(process.argv[1]);
  const at = { port, host: "127.0.0.1", ...tls };
  const socket = tls ? require("node:tls").connect(at) : require("node:net").connect(at);
  const ask = () => socket.write("GET " + key + "\\r\\n");
  socket.on(tls ? "secureConnect" : "connect", ask);
  socket.on("data", (reply) => {
    if (String(reply).includes(value)) process.exit(0);
    setTimeout(ask, 2);
  });
  setTimeout(() => process.exit(3), patience);
`;

/** Blocks this process until the key has the value; false if it has not in time. */
function arrivesWhileBlocked({ port, tls }: Reach, key: string, value: string): boolean {
  const given = JSON.stringify({ port, tls, key, value, patience: PATIENCE });
  const { status, stderr } = spawnSync(process.execPath, ["-e", SCRIPT, given]);
  if (status !== 0 && status !== 3) throw new Error(`The process that asks the server failed: ${String(stderr)}`);
  return status === 0;
}

/** The ways in which commands leave. */
const ways: Record<string, (driver: Driver, key: string) => Promise<unknown>> = {
  "a command": (driver, key) => driver.send(["SET", key, "here"], key),
  "commands together": (driver, key) =>
    new Promise((resolve, reject) => {
      driver.together(() => void driver.send(["SET", key, "here"], key).then(resolve, reject));
    }),
  "commands in order": (driver, key) => driver.inOrder([["SET", key, "here"], ["PING"]], key),
  "a transaction": (driver, key) => driver.transaction([["SET", key, "here"]], key),
  // Clients stop writing at 16 KB, until the system has taken these.
  "a command behind 64 KB of others": (driver, key) => {
    const others = Array.from({ length: 64 }, () => driver.send(["SET", key, "x".repeat(1_024)], key));
    return Promise.all([...others, driver.send(["SET", key, "here"], key)]);
  },
};

/** Fails unless all that is sent, in any way, is with the kernel when the driver says that it is written. */
export async function expectWritten(driver: Driver, reachOf: (key: string) => Reach): Promise<void> {
  for (const [way, send] of Object.entries(ways)) {
    const key = unique("written").replace(" ", "-");
    // Behind other commands, and in the course of an answer on the same connection: where clients are slowest to write.
    const others = Array.from({ length: 5 }, () => driver.send(["EXISTS", key], key));
    const [sent] = await driver.send(["EXISTS", key], key).then(() => [send(driver, key)]);
    await driver.written(key);
    expect(arrivesWhileBlocked(reachOf(key), key, "here"), way).toBe(true);
    await Promise.all([...others, sent]);
  }
}
