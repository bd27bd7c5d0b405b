import { expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { useCommandLine } from "../support/cli.ts";

const cli = useCommandLine("file", { args: ["--appendonly", "yes", "--appendfsync", "always"] });

interface Printed {
  readonly findings: readonly { readonly check: string; readonly severity: string; readonly server: string | null }[];
  readonly passed: readonly string[];
}

test("a healthy server exits with 0, a warning with 1, a critical finding with 2", async () => {
  expect(await cli.run(["doctor"])).toMatchObject({ code: 0, stderr: "" });
  await cli.redis.set("lock:orphan", "x");
  const warned = await cli.run(["doctor"]);
  expect(warned).toMatchObject({ code: 1, stderr: "" });
  expect(warned.stdout).toMatch(
    /^WARNING: A key holds a lock forever \(foreign\)\n {2}Seen {2}string keys .*"orphan"\.$/m,
  );
  expect(warned.stdout).toMatch(/^1 warning(, \d notes?)?\.$/m);
  await cli.redis.call("ACL", "SETUSER", "app", "reset", "on", ">secret", "+@all", "-eval", "~*", "&*");
  const { code, stdout } = await cli.run(["doctor", "--redis", cli.server.url.replace("//", "//app:secret@")]);
  expect(code).toBe(2);
  expect(stdout).toContain("ACL SETUSER app +eval.");
  expect(stdout).not.toContain("secret@");
  await cli.redis.del("lock:orphan");
});

test("every line of text fits into 80 columns", async () => {
  await cli.redis.config("SET", "maxmemory-policy", "volatile-ttl", "maxmemory", "100mb");
  const { stdout } = await cli.run(["doctor"]);
  expect(stdout).toContain("Locks go first");
  expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  await cli.redis.config("SET", "maxmemory-policy", "noeviction", "maxmemory", "0");
});

test.each(["ioredis", "redis"])("--json prints the same by %s, for programs", async (client) => {
  await cli.redis.config("SET", "appendfsync", "no");
  const { code, stdout } = await cli.run(["doctor", "--json", "--client", client, "--ttl", "10s"]);
  expect(code).toBe(1);
  const printed = JSON.parse(stdout) as Printed;
  expect(printed).toMatchObject({ topology: "server", scheme: "lua", prefix: "lock:", ttl: 10_000 });
  expect(printed.findings[0]).toMatchObject({ check: "persistence", severity: "warning", server: cli.server.url });
  expect(printed.passed).toEqual(expect.arrayContaining(["reach", "rights", "pushes", "clock"]));
  await cli.redis.config("SET", "appendfsync", "always");
});

test("a server that cannot be reached exits with 69; of several, it is a finding", async () => {
  const away = "redis://127.0.0.1:1";
  expect(await cli.run(["doctor", "--redis", away])).toMatchObject({ code: 69, stdout: "" });
  const second = await startServer({ args: ["--appendonly", "yes"] });
  try {
    const run = await cli.run(["doctor", "--json", "--redis", cli.server.url, "--redis", second.url, "--redis", away]);
    expect(run.code).toBe(2);
    expect((JSON.parse(run.stdout) as Printed).findings[0]).toMatchObject({ check: "reach", server: away });
  } finally {
    await second.stop();
  }
});
