/**
 * The scripts, with redlock's keys, values and arguments, so that both exclude one another. They stand here as text,
 * not in .lua files, because they are public: users' hooks are handed this text and change it.
 */
import { plainScript } from "../member.ts";
import type { Member, PlainScript } from "../member.ts";

/**
 * KEYS resources, ARGV value, milliseconds. A key of our own value is taken again: the client may have sent this twice.
 */
export const ACQUIRE = `
  -- Return 0 if an entry with a different lock value exists.
  for i, key in ipairs(KEYS) do
    local value = redis.pcall("get", key)
    if value and value ~= ARGV[1] then
      return 0
    end
  end

  for i, key in ipairs(KEYS) do
    redis.call("set", key, ARGV[1], "PX", ARGV[2])
  end

  return #KEYS
`;

/** KEYS resources, ARGV value, milliseconds. */
export const EXTEND = `
  -- Return 0 if an entry is gone, or has a different lock value.
  for i, key in ipairs(KEYS) do
    if redis.call("get", key) ~= ARGV[1] then
      return 0
    end
  end

  for i, key in ipairs(KEYS) do
    redis.call("set", key, ARGV[1], "PX", ARGV[2])
  end

  return #KEYS
`;

/**
 * KEYS resources, ARGV value, the command to publish with, a channel for each resource. Without channels nobody is
 * told. An account may lack the right to publish, and Redis before 7 SPUBLISH: then waiters find out by themselves.
 */
export const RELEASE = `
  local count = 0
  local publish = ARGV[2]
  if publish == "SPUBLISH" and not redis.REDIS_VERSION_NUM then
    publish = "PUBLISH"
  end

  for i, key in ipairs(KEYS) do
    -- Only remove entries for *this* lock value.
    if redis.call("get", key) == ARGV[1] then
      redis.call("del", key)
      count = count + 1
      if ARGV[2 + i] then
        redis.pcall(publish, ARGV[2 + i], "freed")
      end
    end
  end

  return count
`;

export type ScriptHook = string | ((script: string) => string);

export interface ScriptText {
  readonly value: string;
  readonly hash: string;
}

/** A script after the user's hook. */
export function hooked(script: string, hook: ScriptHook | undefined): ScriptText {
  const value = typeof hook === "function" ? hook(script) : (hook ?? script);
  return { value, hash: plainScript("", value).sha };
}

/** The script as the server is sent it. */
export function scriptOn(member: Member, { value, hash }: ScriptText, db: number | undefined): PlainScript {
  // A Cluster has but one database, and refuses SELECT.
  if (db === undefined || member.driver.isCluster) return { name: "redlock", source: value, sha: hash };
  return plainScript("redlock", `redis.call("select", ${db})\n${value}`);
}
