/** The generated scripts are those that servers know by their SHA, and headers cannot disagree with bodies. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { readSignature } from "../scripts/generate-lua.ts";
import { startServer } from "../scripts/servers.ts";
import * as fence from "../src/fence/scripts.generated.ts";
import * as lua from "../src/schemes/lua/scripts.generated.ts";
import * as redlock from "../src/schemes/redlock/scripts.generated.ts";

const FOLDERS = { "schemes/lua": lua, "schemes/redlock": redlock, fence };
const scripts = Object.entries(FOLDERS).flatMap(([folder, module]) =>
  Object.values(module).map((script) => ({ folder, ...script })),
);

describe("each generated script", () => {
  test("has the SHA that a server gives it, and compiles there", async () => {
    await using server = await startServer();
    const redis = new Redis(server.url);
    try {
      for (const { name, source, sha } of scripts) {
        expect(await redis.script("LOAD", source), name).toBe(sha);
      }
    } finally {
      redis.disconnect();
    }
  });

  test.each(scripts)("is made from the file of its name: $name", ({ folder, name, source }) => {
    const file = readFileSync(new URL(`../src/${folder}/scripts/${name}.lua`, import.meta.url), "utf8");
    const last = file.trimEnd().split("\n").at(-1) as string;
    expect(source).toContain(`\n${last.trim()}\n`);
    expect(() => readSignature(name, file)).not.toThrow();
  });
});

describe("a script's header", () => {
  const header = (argv: string): string =>
    `-- What it does,\n-- in words.\n-- KEYS counter | key, queue\n-- ARGV ${argv}\n-- RETURNS 1\n`;

  test("is its signature", () => {
    const source = `${header("publish, channel, limit | token, ttl")}\nreturn { limit, token, ttl }\n`;
    expect(readSignature("example", source)).toEqual({
      about: "What it does, in words.",
      keys: { call: ["counter"], item: ["key", "queue"] },
      args: { call: ["publish", "channel", "limit"], item: ["token", "ttl"] },
      returns: "1",
    });
  });

  test("may name no argument that the body never reads", () => {
    expect(() => readSignature("example", `${header("| token, ttl")}\nreturn token\n`)).toThrow(
      "example.lua: the header names ttl, the body never reads it",
    );
    expect(() => readSignature("example", `${header("limit | token")}\nreturn token\n`)).toThrow("limit");
  });

  test("is where KEYS and ARGV stand, and nowhere else", () => {
    expect(() => readSignature("example", `${header("| token")}\nreturn { token, ARGV[2] }\n`)).toThrow("ARGV");
  });

  test.each(["KEYS", "ARGV", "RETURNS"])("needs its line %s", (title) => {
    const source = `${header("| token")}\nreturn token\n`.replace(`-- ${title} `, "-- ");
    expect(() => readSignature("example", source)).toThrow(`"-- ${title} …"`);
  });

  test("parts what a call shares from what each item has", () => {
    expect(() => readSignature("example", `${header("token")}\nreturn token\n`)).toThrow('"|"');
  });
});
