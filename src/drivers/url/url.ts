/** Server addresses as users write them: URLs, parsed and checked before anything is opened. */
import { show } from "../../options/checks.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The content of a URL. */
export interface Place {
  readonly kind: "server" | "sentinel" | "cluster";
  /** For a server, its address; for Sentinels and a Cluster, the servers to ask. Empty for a socket. */
  readonly addresses: readonly Address[];
  /** Of a socket. */
  readonly path: string | undefined;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  /** The Sentinels' name for the servers that they watch. */
  readonly master: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  /** Its name in messages, without secrets. */
  readonly title: string;
}

const FORMS =
  "redis://[[user]:password@]host[:port][/db], rediss://… for TLS, unix:///path, " +
  "redis+sentinel://…host[:port][,host…]/master[/db] or redis+cluster://…host[:port][,host…]";

const ENCODE = "Percent-encode what is neither letter nor digit in user, password and path.";

/** True for what is to be read as URLs: a string, or an array with a string in it. */
export function areUrls(given: unknown): given is string | readonly string[] {
  return typeof given === "string" || (Array.isArray(given) && given.some((each) => typeof each === "string"));
}

/**
 * @param given a URL, or an array of them: each of an independent server, for Redlock
 * @throws TypeError unless all can be used
 */
export function parseUrls(given: string | readonly string[]): readonly Place[] {
  if (typeof given === "string") return [parseUrl(given)];
  const other = given.findIndex((each) => typeof each !== "string");
  if (other >= 0) {
    const url = given.findIndex((each) => typeof each === "string");
    throw new TypeError(
      `Expected URLs or clients in the array, not both; got a URL as node ${url + 1} and ${show(given[other])} as ` +
        `node ${other + 1}. Connections that are opened for URLs are closed with the manager, clients are not.`,
    );
  }
  const places = given.map(parseUrl);
  const servers = places.map(({ path, addresses: [address] }) => path ?? `${address?.host}:${address?.port}`);
  places.forEach((place, i) => {
    const node = `node ${i + 1}, ${place.title}`;
    if (place.kind !== "server") {
      throw new TypeError(
        `Expected each URL of the array to lead to one server, independent of the others; got ${node}. ` +
          "Servers that follow one another are no nodes of Redlock: pass that URL alone.",
      );
    }
    const first = servers.indexOf(servers[i] as string);
    if (first < i) {
      throw new TypeError(
        `Expected each URL of the array to lead to a server of its own; got the same as node ${first + 1} and ${node}.`,
      );
    }
  });
  return places;
}

/** @throws TypeError unless it can be used */
function parseUrl(text: string): Place {
  if (text.startsWith("/")) return { ...NOWHERE, path: text, title: text };
  const socket = /^unix:\/\/(?:([^/?#]*)@)?(\/[^?#]+)(?:\?([^#]*))?$/i.exec(text);
  if (socket) return parseSocket(text, socket);
  if (/\s/.test(text)) throw refused(text, "one URL, without spaces", "Several servers are an array of URLs.");
  const shape =
    /^((?:redis|valkey)(s?)(?:\+(sentinel|cluster))?):\/\/(?:([^/?#]*)@)?([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i;
  const [, protocol = "", secure = "", form, user, hosts = "", path = "", query] = shape.exec(text) ?? [];
  if (!protocol) throw refused(text, `the server as ${FORMS}`);
  const kind = (form?.toLowerCase() as Place["kind"] | undefined) ?? "server";
  const addresses = hosts.split(",").map((each) => parseAddress(text, each, kind === "sentinel" ? 26_379 : 6_379));
  if (kind === "server" && addresses.length > 1) {
    const remedy = "Several hosts are for redis+sentinel:// and redis+cluster://; for Redlock give several URLs.";
    throw refused(text, "one host in a redis:// URL", remedy);
  }
  const { master, db } = parsePath(text, kind, path);
  const known = kind === "sentinel" ? ["sentinelUsername", "sentinelPassword"] : [];
  const { sentinelUsername, sentinelPassword } = parseQuery(text, query, known);
  if (sentinelUsername !== undefined && sentinelPassword === undefined) {
    throw refused(text, "sentinelPassword with sentinelUsername");
  }
  const login = parseLogin(text, user);
  const list = addresses.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`).join(",");
  const rest = `${master === undefined ? "" : `/${encodeURIComponent(master)}`}${db > 0 ? `/${db}` : ""}`;
  const title = `${protocol.toLowerCase()}://${user ? "…@" : ""}${list}${rest}`;
  const tls = secure !== "";
  return { ...NOWHERE, kind, addresses, tls, ...login, db, master, sentinelUsername, sentinelPassword, title };
}

const NOWHERE: Place = {
  kind: "server",
  addresses: [],
  path: undefined,
  tls: false,
  username: undefined,
  password: undefined,
  db: 0,
  master: undefined,
  sentinelUsername: undefined,
  sentinelPassword: undefined,
  title: "",
};

function parseSocket(text: string, [, user, raw = "", query]: RegExpExecArray): Place {
  const path = decode(text, raw);
  const { db = "0" } = parseQuery(text, query, ["db"]);
  const login = parseLogin(text, user);
  return { ...NOWHERE, path, ...login, db: parseDb(text, db), title: `unix://${user ? "…@" : ""}${path}` };
}

function parseAddress(text: string, address: string, defaultPort: number): Address {
  const [, host = "", digits] = /^(\[[0-9a-f:.]+\]|[^\s:[\]\\]+)(?::(\d{1,5}))?$/i.exec(address) ?? [];
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === "" || port < 1 || port > 65_535) {
    throw refused(text, "each host as name, name:port or [IPv6 address]:port", ENCODE);
  }
  return { host: host.replace(/^\[|\]$/g, "").toLowerCase(), port };
}

/** What follows the hosts: a database, of Sentinels the master's name and perhaps a database, of a Cluster nothing. */
function parsePath(text: string, kind: Place["kind"], path: string): Pick<Place, "master" | "db"> {
  const words = path.split("/").slice(1);
  if (kind === "sentinel") {
    const [master = "", db = "", ...more] = words;
    if (master === "" || more.length > 0) {
      throw refused(text, "the master's name, and perhaps a database, after the Sentinels", "Such as …/mymaster/0.");
    }
    return { master: decode(text, master), db: parseDb(text, db) };
  }
  const db = parseDb(text, words.join("/"));
  if (kind === "cluster" && db !== 0) throw refused(text, "no database, for a Cluster has only the first");
  return { master: undefined, db };
}

function parseDb(text: string, db: string): number {
  if (/^\d{0,6}$/.test(db)) return Number(db);
  throw refused(text, "the database as a whole number");
}

/** @throws TypeError for parameters that would be ignored otherwise */
function parseQuery(text: string, query: string | undefined, known: readonly string[]): Record<string, string> {
  const pairs = (query ?? "").split("&").filter(Boolean);
  const entries = pairs.map((pair) => {
    const [, name = "", value = ""] = /^([^=]*)=?([^]*)$/.exec(pair) ?? [];
    if (known.includes(name)) return [name, decode(text, value)] as const;
    const those = known.length > 0 ? `no parameters but ${known.join(" and ")}` : "no parameters";
    throw refused(text, `${those} in this URL`, "For other settings pass a client of your own.");
  });
  return Object.fromEntries(entries);
}

function parseLogin(text: string, login: string | undefined): Pick<Place, "username" | "password"> {
  if (!login) return { username: undefined, password: undefined };
  const colon = login.indexOf(":");
  if (colon < 0) throw refused(text, "user:password, or :password alone, before the @");
  const [username, password] = [login.slice(0, colon), login.slice(colon + 1)].map((each) => decode(text, each));
  return { username: username || undefined, password: username || password ? password : undefined };
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw refused(text, "% only before two hexadecimal digits", ENCODE);
  }
}

function refused(text: string, expected: string, remedy?: string): TypeError {
  return new TypeError(`Expected ${expected}; got ${withoutSecrets(text)}.${remedy === undefined ? "" : ` ${remedy}`}`);
}

/**
 * In a text that is not a valid URL, nobody knows where the password ends: everything before the last @ is left out,
 * and whatever stands where a port or a parameter's value would.
 */
function withoutSecrets(text: string): string {
  const [, protocol = "", rest = ""] = /^([a-z]+(?:\+[a-z]+)?:\/\/)?([^]*)$/i.exec(text) ?? [];
  const open = rest.includes("@") ? `…@${rest.slice(rest.lastIndexOf("@") + 1)}` : rest;
  // An @ in the password of a parameter: what follows it is not known to be a host.
  if (/password=[^]*@/i.test(rest)) return show(`${protocol}…`);
  const shown = open.replace(/\?[^]*$/, "?…").replace(/:(?!\d{1,5}(?![^,/?]))[^,/?]*/g, ":…");
  return show(`${protocol}${shown}`);
}
