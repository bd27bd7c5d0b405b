/** Guarded rows of a SQL database. */
import { dictionary, show } from "../options/checks.ts";
import { checkName } from "../options/request.ts";
import { checkFenced } from "./checks.ts";
import type { Fenced } from "./checks.ts";

/** A parameterised statement, or a part of one: what node-postgres' `query()` takes. */
export interface Sql {
  readonly text: string;
  readonly values: readonly unknown[];
}

const FRAGMENT = Symbol("fragment");

interface Fragment extends Sql {
  readonly [FRAGMENT]: { readonly strings: readonly string[]; readonly values: readonly unknown[] };
}

/**
 * A statement from a template: each value becomes a parameter, another template becomes a part of this one.
 *
 *     sql`UPDATE invoice SET total = ${total}, ${stamp(lock)} WHERE id = ${id} AND ${notStale(lock)}`
 */
export function sql(strings: readonly string[], ...values: readonly unknown[]): Sql {
  const texts = [strings[0] ?? ""];
  const flat: unknown[] = [];
  values.forEach((value, i) => {
    const inner = isFragment(value) ? value[FRAGMENT] : { strings: ["", ""], values: [value] };
    texts.push(`${texts.pop()}${inner.strings[0]}`, ...inner.strings.slice(1));
    texts.push(`${texts.pop()}${strings[i + 1]}`);
    flat.push(...inner.values);
  });
  const text = texts.reduce((before, after, i) => `${before}$${i}${after}`);
  const fragment: Fragment = { text, values: flat, [FRAGMENT]: { strings: texts, values: flat } };
  return fragment;
}

function isFragment(value: unknown): value is Fragment {
  return typeof value === "object" && value !== null && FRAGMENT in value;
}

/** The columns of a guarded row: a bigint and a text, both null in a row that nobody has written under a lock. */
export interface FenceColumns {
  readonly fence: string;
  readonly token: string;
}

const COLUMNS: FenceColumns = { fence: "fence", token: "fence_token" };

/** For WHERE: true of rows that no later holder has written. An UPDATE that changes no row came too late. */
export function notStale(by: Fenced, columns: FenceColumns = COLUMNS): Sql {
  const { fence, token } = checkFenced(by);
  const [f, t] = identifiers(columns);
  return sql([`(${f} IS NULL OR ${f} < `, ` OR (${f} = `, ` AND ${t} = `, "))"], fence, fence, token);
}

/** For SET: records who writes. Put it into every guarded UPDATE, beside `notStale`. */
export function stamp(by: Fenced, columns: FenceColumns = COLUMNS): Sql {
  const { fence, token } = checkFenced(by);
  const [f, t] = identifiers(columns);
  return sql([`${f} = `, `, ${t} = `, ""], fence, token);
}

/** The table that `passFence` uses: one row for each lock that was ever used with it. */
export const FENCE_TABLE =
  "CREATE TABLE IF NOT EXISTS holdfast_fence (lock text PRIMARY KEY, fence bigint NOT NULL, token text NOT NULL)";

/**
 * The first statement of a transaction that writes under a lock. It returns one row, or none if a
 * later holder has passed: then roll back. Until the transaction ends nobody else passes the same lock.
 */
export function passFence(by: Fenced & { readonly name: string }): Sql {
  const { fence, token } = checkFenced(by);
  return sql`INSERT INTO holdfast_fence AS f (lock, fence, token) VALUES (${checkName(by.name)}, ${fence}, ${token})
    ON CONFLICT (lock) DO UPDATE SET fence = excluded.fence, token = excluded.token
    WHERE f.fence < excluded.fence OR (f.fence = excluded.fence AND f.token = excluded.token)
    RETURNING fence`;
}

/** @throws TypeError unless both are names of columns */
function identifiers(columns: unknown): [fence: string, token: string] {
  const { fence, token } = dictionary(columns, "the columns");
  return [identifier(fence, "fence"), identifier(token, "token")];
}

function identifier(name: unknown, of: string): string {
  if (typeof name === "string" && name !== "" && !name.includes("\0")) return `"${name.replaceAll('"', '""')}"`;
  throw new TypeError(`Expected the name of the column for the ${of}, a string; got ${show(name)}.`);
}
