/** What is refused, as what, and in which words; and that nothing was sent by then. */
import { describe, expect, test } from "vitest";
import { LockManager, type RedisClient } from "../src/index.ts";
import { checkManagerOptions } from "../src/options/manager.ts";
import { checkRequest } from "../src/options/request.ts";
import { duration, show } from "../src/options/checks.ts";
import { expectDOMException, rejection, requestWith } from "./support/locks.ts";

/** An ioredis client as it can be seen from outside, which writes down what it is asked to send. */
function recording(): { client: RedisClient; sent: unknown[] } {
  const sent: unknown[] = [];
  const record = (...command: unknown[]): never => {
    sent.push(command);
    throw new Error("nothing should be sent");
  };
  const client = {
    status: "ready",
    options: {},
    call: record,
    multi: record,
    duplicate: record,
    on: () => client,
    off: () => client,
  };
  return { client, sent };
}

/** A value, the class of the error, and what its message says of what came. */
type Refusal = [value: unknown, error: "TypeError" | "RangeError", came: string];

function expectRefusal(error: unknown, kind: Refusal[1], ...says: string[]): void {
  expect(Object.getPrototypeOf(error)).toBe(kind === "TypeError" ? TypeError.prototype : RangeError.prototype);
  for (const each of says) expect((error as Error).message).toContain(each);
}

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("Expected it to throw.");
}

const durations = (least: number): Refusal[] => [
  ["5s", "TypeError", '"5s"'],
  [null, "TypeError", "null"],
  [{}, "TypeError", "an object (Object)"],
  [10n, "TypeError", "10n"],
  [true, "TypeError", "true"],
  [Symbol("x"), "TypeError", "Symbol(x)"],
  [least - 1, "RangeError", String(least - 1)],
  [-1, "RangeError", "-1"],
  [100.5, "RangeError", "100.5"],
  [NaN, "RangeError", "NaN"],
  [Infinity, "RangeError", "Infinity"],
  [2 ** 53, "RangeError", "9007199254740992"],
];

describe("a request", () => {
  const checked = (options: unknown) => checkRequest("a", options, { ttl: 1_234 }, "request");

  /** All verbs that take options, with a manager whose client must not be asked. */
  const refused = async (options: unknown): Promise<{ errors: unknown[]; sent: unknown[] }> => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    const verbs = [
      requestWith(locks, "name", options, () => "ran"),
      Reflect.apply(locks.acquire, locks, ["name", options]) as Promise<unknown>,
    ];
    return { errors: await Promise.all(verbs.map((each) => rejection(each))), sent };
  };

  describe.each([
    ["ttl", 50],
    ["waitTimeout", 0],
    ["maxHold", 50],
  ])("%s", (option, least) => {
    test.each(durations(least))("%o is refused with %s before anything is sent", async (value, kind, came) => {
      const { errors, sent } = await refused({ [option]: value });
      const expected = `Expected ${option} to be a whole number of at least ${least} milliseconds; got `;
      for (const error of errors) expectRefusal(error, kind, expected, came);
      expect(sent).toEqual([]);
    });

    test("its least value and the largest integer are taken", () => {
      for (const value of [least, Number.MAX_SAFE_INTEGER]) {
        expect(checked({ [option]: value })).toMatchObject({ [option]: value });
      }
    });
  });

  test.each<[string, Refusal]>([
    ["mode", ["read", "TypeError", 'Expected mode to be "exclusive" or "shared"; got "read"']],
    ["mode", [null, "TypeError", "got null"]],
    ["mode", [Symbol("x"), "TypeError", "Symbol(x)"]],
    ["signal", [{}, "TypeError", "Expected signal to be an AbortSignal; got an object (Object)"]],
    ["signal", [null, "TypeError", "got null"]],
    ["renew", ["yes", "TypeError", 'Expected renew to be true or false; got "yes"']],
    ["renew", [0, "TypeError", "got 0"]],
    ["label", [7, "TypeError", "Expected label to be a string of at most 256 characters; got 7"]],
    ["label", ["x".repeat(257), "TypeError", "at most 256"]],
    ["label", ["\ud800", "TypeError", "Expected label"]],
  ])("%s %o is refused before anything is sent", async (option, [value, kind, says]) => {
    const { errors, sent } = await refused({ [option]: value });
    for (const error of errors) expectRefusal(error, kind, says);
    expect(sent).toEqual([]);
  });

  test.each<[object, Refusal["1"], string]>([
    [{ durability: {} }, "RangeError", "got neither"],
    [{ durability: { replicas: 2, disk: true } }, "TypeError", 'Unknown option "disk" in durability'],
    [{ ttl: 100, durability: { aof: true, timeout: 100 } }, "RangeError", "less than the ttl, 100 milliseconds"],
    [{ maxHold: 90, durability: { aof: true, timeout: 90 } }, "RangeError", "less than the ttl, 90 milliseconds"],
  ])("%o is refused before anything is sent", async (options, kind, says) => {
    const { errors, sent } = await refused(options);
    for (const error of errors) expectRefusal(error, kind, says);
    expect(sent).toEqual([]);
  });

  test("durability is the request's own, else the manager's; null is none", () => {
    const manager = { ttl: 1_234, durability: { replicas: 2, aof: false, timeout: 70 } };
    const wish = (options: object) => checkRequest("a", options, manager, "request").durability;
    expect(wish({})).toEqual({ replicas: 2, aof: false, timeout: 70 });
    expect(wish({ durability: { replicas: 1, timeout: 5 } })).toEqual({ replicas: 1, aof: false, timeout: 5 });
    expect(wish({ durability: null })).toBeUndefined();
  });

  test("durability without a timeout takes longer for a disk, and never more than a third of the ttl", () => {
    const timeout = (ttl: number, durability: object) => checked({ ttl, durability }).durability?.timeout;
    expect(timeout(30_000, { replicas: 1 })).toBe(100);
    expect(timeout(30_000, { replicas: 1, aof: true })).toBe(2_000);
    expect(timeout(50, { replicas: 1 })).toBe(16);
    expect(timeout(900, { aof: true })).toBe(300);
  });

  test.each([5, "exclusive", true, Symbol("x"), 1n])(
    "options %o are refused before anything is sent",
    async (value) => {
      const { client, sent } = recording();
      const error = await rejection(requestWith(new LockManager(client), "name", value, () => "ran"));
      expectRefusal(error, "TypeError", "Expected options to be an object; got ", show(value));
      expect(sent).toEqual([]);
    },
  );

  test.each<[object, string]>([
    [{ steal: true, ifAvailable: true }, "steal and ifAvailable"],
    [{ steal: true, mode: "shared" }, "exclusive"],
    [{ steal: true, signal: new AbortController().signal }, "signal and steal"],
    [{ ifAvailable: true, signal: new AbortController().signal }, "signal and ifAvailable"],
  ])("%o is refused with NotSupportedError before anything is sent", async (options, says) => {
    const { client, sent } = recording();
    const error = await rejection(requestWith(new LockManager(client), "name", options, () => "ran"));
    expectDOMException(error, "NotSupportedError");
    expect((error as DOMException).message).toContain(says);
    expect(sent).toEqual([]);
  });

  test("acquire refuses ifAvailable and says what to use, because it cannot return nothing", async () => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    const error = await rejection(Reflect.apply(locks.acquire, locks, ["name", { ifAvailable: true }]));
    expectRefusal(error, "TypeError", "ifAvailable", "tryAcquire");
    expect(sent).toEqual([]);
  });

  test("tryAcquire without waitTimeout refuses the options about waiting, because it never waits", async () => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    const tryWith = (options: object) => rejection(Reflect.apply(locks.tryAcquire, locks, ["name", options]));
    expectRefusal(
      await tryWith({ maxQueue: 5 }),
      "TypeError",
      "tryAcquire() without waitTimeout never waits, so it cannot take maxQueue",
    );
    expectDOMException(await tryWith({ signal: new AbortController().signal }), "NotSupportedError");
    expect(sent).toEqual([]);
  });

  test.each(["steal", "ifAvailable"])("waitTimeout is refused beside %s, which never waits", async (other) => {
    const { client, sent } = recording();
    const options = { waitTimeout: 0, [other]: true };
    const error = await rejection(requestWith(new LockManager(client), "name", options, () => "ran"));
    expectRefusal(error, "TypeError", `A request with ${other} never waits, so it cannot take waitTimeout`);
    expect(sent).toEqual([]);
  });

  test.each<[unknown, string]>([
    [undefined, "got undefined"],
    [null, "got null"],
    [{}, "got an object (Object)"],
    ["name", 'got "name"'],
  ])("the callback %o is refused before anything is sent", async (callback, came) => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    for (const refusal of [requestWith(locks, "name", callback), requestWith(locks, "name", {}, callback)]) {
      expectRefusal(await rejection(refusal), "TypeError", "Expected the callback to be a function; ", came);
    }
    expect(sent).toEqual([]);
  });

  test("missing options have their defaults, and undefined counts as missing", () => {
    const defaults = {
      mode: "exclusive",
      manner: "wait",
      signal: undefined,
      ttl: 1_234,
      waitTimeout: undefined,
      renew: true,
      reentrant: false,
      maxHold: undefined,
      label: "",
    };
    const { manner, ...options } = defaults;
    const left = Object.fromEntries(Object.keys(options).map((name) => [name, undefined]));
    for (const given of [undefined, null, {}, left]) {
      expect(checked(given)).toEqual({ lock: "a", manner, isTry: false, isCandidacy: false, ...options });
    }
  });

  test.each([
    [{ timeout: 1_000 }, "waitTimeout"],
    [{ TTL: 1_000 }, "ttl"],
    [{ signall: undefined }, "signal"],
    [{ tll: 1_000 }, "ttl"],
    [{ shared: true }, undefined],
  ])("the unknown option in %o is refused, and what was probably meant is named", async (options, meant) => {
    const { errors, sent } = await refused(options);
    const hint = meant ? `Did you mean ${meant}?` : "The options are mode, ifAvailable, steal";
    for (const error of errors) expectRefusal(error, "TypeError", "Unknown option", hint);
    expect(sent).toEqual([]);
  });

  test("a function in the place of the options is refused", async () => {
    const { errors, sent } = await refused(() => "not options" as never);
    for (const error of errors) expectRefusal(error, "TypeError", "Expected options to be an object; got function");
    expect(sent).toEqual([]);
  });

  test("a polyfilled AbortSignal is taken", () => {
    const signal = { aborted: false, addEventListener: () => {}, removeEventListener: () => {} };
    expect(checked({ signal })).toMatchObject({ signal });
  });

  test("members that the Web Locks specification names are converted as it says", () => {
    const options = { mode: { toString: () => "shared" }, ifAvailable: "yes", steal: 0 };
    expect(checked(options)).toMatchObject({ mode: "shared", manner: "try" });
  });
});

describe("a name", () => {
  const everyVerb = async (name: unknown) => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    const call = (verb: unknown, ...args: unknown[]) => Reflect.apply(verb as () => Promise<unknown>, locks, args);
    const asking = [requestWith(locks, name, () => "ran"), call(locks.acquire, name), call(locks.tryAcquire, name)];
    const looking = [call(locks.forceRelease, name), ...(name === undefined ? [] : [call(locks.query, { name })])];
    return {
      asking: await Promise.all(asking.map((each) => rejection(each))),
      looking: await Promise.all(looking.map((each) => rejection(each))),
      sent,
    };
  };

  test.each<[unknown, string]>([
    [undefined, "undefined"],
    [null, "null"],
    [7, "7"],
    [{}, "an object (Object)"],
    [[["a"]], "an array of 1"],
    [Symbol("x"), "Symbol(x)"],
  ])("that is no string (%o) is refused by every verb before anything is sent", async (name, came) => {
    const { asking, looking, sent } = await everyVerb(name);
    for (const error of [...asking, ...looking])
      expectRefusal(error, "TypeError", "Expected the lock's name to be a string; got ", came);
    expect(sent).toEqual([]);
  });

  test.each(["-", "-a"])(
    "that starts with a dash (%s) is refused with NotSupportedError by every verb that asks for it",
    async (name) => {
      const { asking } = await everyVerb(name);
      for (const error of asking) expectDOMException(error, "NotSupportedError");
    },
  );

  test.each([
    ["x".repeat(1025), "1025"],
    ["é".repeat(513), "1026"],
    ["😀".repeat(257), "1028"],
  ])("of more than 1024 bytes of UTF-8 is refused by every verb", async (name, came) => {
    const { asking, looking, sent } = await everyVerb(name);
    for (const error of [...asking, ...looking])
      expectRefusal(error, "RangeError", `at most 1024 bytes of UTF-8; got ${came}`);
    expect(sent).toEqual([]);
  });

  test.each(["", "\0", "\ud800", "x".repeat(1024), "é".repeat(512), " -", "a-"])(
    "like %j is taken as it is",
    (name) => {
      expect(checkRequest(name, {}, { ttl: 50 }, "request").lock).toBe(name);
    },
  );
});

describe("a selection", () => {
  test.each<[unknown, string]>([
    ["everything", '"everything"'],
    [null, "null"],
    [7, "7"],
    [{}, "an object (Object)"],
    [{ match: 7 }, "an object (Object)"],
    [{ name: "a", match: "b" }, "an object (Object)"],
  ])("%o is refused by query before anything is sent", async (selection, came) => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    const error = await rejection(Reflect.apply(locks.query, locks, [selection]));
    expectRefusal(error, "TypeError", "Expected a selection of locks", `got ${came}`);
    expect(sent).toEqual([]);
  });
});

describe("a manager", () => {
  const made = (options: unknown) => thrown(() => Reflect.construct(LockManager, [recording().client, options]));

  test.each(durations(50))("ttl %o is refused with %s", (value, kind, came) => {
    expectRefusal(
      made({ ttl: value }),
      kind,
      "Expected ttl to be a whole number of at least 50 milliseconds; got ",
      came,
    );
  });

  test.each<[object, string]>([
    [{ prefix: 7 }, "Expected prefix to be a string of at most 256 characters; got 7"],
    [{ prefix: "x".repeat(257) }, "at most 256"],
    [{ prefix: "\udc00" }, "Expected prefix"],
    [{ prefix: "{" }, 'Expected prefix to hold no brace, or one hash tag such as "{app}:"; got "{"'],
    [{ prefix: "}" }, "no brace"],
    [{ prefix: "{}" }, "no brace"],
    [{ prefix: "{a}{b}" }, "no brace"],
    [{ prefix: "{{a}}" }, "no brace"],
    [{ prefix: "a:queue" }, "Expected prefix not to end like a key of holdfast's own"],
    [{ prefix: ":holders" }, "not to end like"],
    [{ scheme: "redis" }, 'Expected scheme to be "memory" or "set" or "lua" or "redlock"; got "redis"'],
    [{ scheme: null }, "got null"],
    [{ label: 7 }, "Expected label to be a string"],
    [{ label: "x".repeat(257) }, "at most 256"],
    [{ tll: 5_000 }, 'Unknown option "tll" in options. Did you mean ttl?'],
    [{ waitTimeout: 5 }, 'Unknown option "waitTimeout" in options. The options are prefix, ttl'],
    [{ turn: "16" }, 'Expected turn to be a whole number; got "16"'],
    [{ turn: 1.5 }, "Expected turn to be a whole number; got 1.5"],
  ])("%o is refused with TypeError", (options, says) => {
    expectRefusal(made(options), "TypeError", says);
  });

  test.each([0, -1, 1_001])("turn: %d is refused with RangeError", (turn) => {
    expectRefusal(made({ turn }), "RangeError", "Expected turn to be from 1 to 1000");
  });

  test.each<[unknown, Refusal["1"], string]>([
    [7, "TypeError", "Expected durability to be an object; got 7."],
    [null, "TypeError", "null only for a request"],
    [{}, "RangeError", "Expected durability to wish for replicas (at least 1), for aof, or for both; got neither."],
    [{ replicas: 0 }, "RangeError", "got neither"],
    [{ aof: false, timeout: 5 }, "RangeError", "got neither"],
    [{ replicas: -1 }, "RangeError", "Expected durability.replicas to be from 0 to 1000; got -1."],
    [{ replicas: 1_001 }, "RangeError", "got 1001"],
    [{ replicas: "1" }, "TypeError", 'Expected durability.replicas to be a whole number; got "1".'],
    [{ aof: 1 }, "TypeError", "Expected durability.aof to be true or false; got 1."],
    [{ replicas: 1, timeout: 0 }, "RangeError", "Expected durability.timeout to be a whole number of at least 1"],
    [{ replicas: 1, timeout: 4_001 }, "RangeError", "Expected durability.timeout to be at most 4000"],
    [{ replicas: 1, timeout: "50" }, "TypeError", "Expected durability.timeout"],
    [{ replica: 1 }, "TypeError", 'Unknown option "replica" in durability. Did you mean replicas?'],
  ])("durability: %o is refused with %s", (durability, kind, says) => {
    expectRefusal(made({ durability }), kind, says);
  });

  test("durability whose timeout is not less than the ttl is refused with RangeError", () => {
    const says = "Expected durability.timeout to be less than the ttl, 300 milliseconds; got 300.";
    expectRefusal(made({ ttl: 300, durability: { replicas: 1, timeout: 300 } }), "RangeError", says);
  });

  test.each([7, "lock:", true])("options %o are refused with TypeError", (options) => {
    expectRefusal(made(options), "TypeError", "Expected options to be an object; got ", show(options));
  });

  test.each(["", "lock:", "{app}:", "a{b}c", "x".repeat(256), "*[?"])("prefix %j is taken", (prefix) => {
    expect(checkManagerOptions({ prefix }).prefix).toBe(prefix);
  });

  test("missing options have their defaults", () => {
    const defaults = {
      prefix: "lock:",
      ttl: 30_000,
      scheme: undefined,
      label: expect.stringMatching(/^.+:\d+:.+$/) as string,
      nodeTimeout: undefined,
      delayRestarted: undefined,
      turn: 16,
      trackContext: false,
      detectDeadlocks: false,
    };
    for (const options of [undefined, null, {}, { prefix: undefined, ttl: undefined }]) {
      expect(checkManagerOptions(options)).toEqual(defaults);
    }
  });

  test.each<[unknown, string]>([
    [null, "null"],
    [7, "7"],
    [true, "true"],
    [{}, "an object (Object)"],
    [new Map(), "an object (Map)"],
    [() => {}, "function (anonymous)"],
  ])("a client of an unknown kind (%o) is refused with TypeError that names the known ones", (client, came) => {
    const error = thrown(() => Reflect.construct(LockManager, [client]));
    expectRefusal(error, "TypeError", "ioredis", "node-redis", `got ${came}`);
  });

  test.each(["lua", "set", "memory"])(
    "several clients are refused for the scheme %s, which lives on one server",
    (scheme) => {
      const clients = [recording().client, recording().client];
      const error = thrown(() => Reflect.construct(LockManager, [clients, { scheme }]));
      expectRefusal(error, "TypeError", `one Redis client for the scheme "${scheme}"`, "an array of 2");
    },
  );

  test.each(["lua", "set", "redlock"])("the scheme %s is refused without a client", (scheme) => {
    const error = thrown(() => Reflect.construct(LockManager, [undefined, { scheme }]));
    expectRefusal(error, "TypeError", "Expected a Redis client", `"${scheme}"`);
  });

  test("the scheme memory is refused with a client", () => {
    expectRefusal(made({ scheme: "memory" }), "TypeError", "Expected no client");
  });

  test("making one sends nothing", () => {
    const { client, sent } = recording();
    expect(new LockManager(client)).toBeInstanceOf(LockManager);
    expect(new LockManager(client, { scheme: "set" })).toBeInstanceOf(LockManager);
    expect(sent).toEqual([]);
  });
});

describe("once closed", () => {
  test("a manager refuses every verb and sends nothing", async () => {
    const { client, sent } = recording();
    const locks = new LockManager(client);
    await locks.close();
    const refusals = [
      locks.request("a", () => 1),
      locks.acquire("a"),
      locks.tryAcquire("a"),
      locks.query(),
      locks.forceRelease("a"),
    ];
    for (const refusal of refusals) {
      const error = await rejection(refusal);
      expect(error).toMatchObject({ name: "LockError", code: "closed" });
      expect((error as Error).message).toContain("has been closed. Make a new one.");
    }
    expect(sent).toEqual([]);
  });
});

describe("a signal that is aborted already", () => {
  test("rejects with its reason before anything is sent", async () => {
    const { client, sent } = recording();
    const reason = { why: "enough" };
    const error = await rejection(new LockManager(client).acquire("a", { signal: AbortSignal.abort(reason) }));
    expect(error).toBe(reason);
    expect(sent).toEqual([]);
  });
});

describe("a duration", () => {
  test("may be left out, be the least, or be any safe integer above it", () => {
    expect([duration(undefined, "x", 5), duration(5, "x", 5), duration(2 ** 53 - 1, "x", 5)]).toEqual([
      undefined,
      5,
      2 ** 53 - 1,
    ]);
  });
});

describe("a value in a message", () => {
  test.each<[unknown, string]>([
    ["a\0b", '"a\\u0000b"'],
    ["x".repeat(100), `"${"x".repeat(77)}…"`],
    [function named() {}, "function named"],
    [Object.create(null), "an object (no prototype)"],
    [-0, "0"],
    [Symbol("s"), "Symbol(s)"],
  ])("%o is shown as %s", (value, shown) => {
    expect(show(value)).toBe(shown);
  });
});
