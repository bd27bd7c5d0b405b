/** A server that speaks TLS only. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureOpenssl, findServerBinary, type Place, type Server, startServer } from "../servers.ts";
import { host } from "./asking.ts";
import { type MemberOptions, Topology } from "./topology.ts";

const run = promisify(execFile);

export interface TlsOptions extends MemberOptions {
  /** Refuse clients that show no certificate (default false). */
  clientCertificates?: boolean;
  /** Its certificate is for the name localhost only, and not for the address (default false). */
  byNameOnly?: boolean;
}

/** A server that speaks TLS only. Its certificates end with it. */
export class TlsServer extends Topology {
  readonly server: Server;
  readonly servers: readonly Server[];
  readonly url: string;
  /** The authority that signed both certificates; `cert` and `key` are a client's. All PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;

  constructor(server: Server, { ca, cert, key }: { ca: string; cert: string; key: string }) {
    super();
    this.server = server;
    this.servers = [server];
    this.url = `rediss://${host}:${server.port}`;
    this.ca = ca;
    this.cert = cert;
    this.key = key;
  }
}

export async function startTls(options: TlsOptions = {}): Promise<TlsServer> {
  const { clientCertificates = false, byNameOnly = false, args = [], ...rest } = options;
  const binary = options.binary ?? (await findServerBinary());
  const tlsArgs = async (place: Place): Promise<string[]> => {
    await makeCertificates(place.dir, byNameOnly ? "DNS:localhost" : `IP:${host},DNS:localhost`);
    const file = (name: string): string => join(place.dir, name);
    const files = ["--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key")];
    const clients = ["--tls-ca-cert-file", file("ca.crt"), "--tls-auth-clients", clientCertificates ? "yes" : "no"];
    const ports = ["--port", "0", "--tls-port", `${place.port}`];
    return [...ports, ...files, ...clients, ...(typeof args === "function" ? await args(place) : args)];
  };
  const server = await startServer({ ...rest, binary, args: tlsArgs }).catch((error: unknown) => {
    if (!/tls-port/.test(String(error))) throw error;
    throw new Error(`${binary} has no TLS built in. Use one that was built with BUILD_TLS=yes, as Debian's are.`, {
      cause: error,
    });
  });
  const read = (name: string): Promise<string> => readFile(join(server.dir, name), "utf8");
  const [ca, cert, key] = await Promise.all([read("ca.crt"), read("client.crt"), read("client.key")]);
  return new TlsServer(server, { ca, cert, key });
}

/** An authority, and a server's and a client's certificate that it has signed, by the command openssl. */
async function makeCertificates(dir: string, names: string): Promise<void> {
  await ensureOpenssl();
  const openssl = (line: string, ...more: string[]): Promise<unknown> =>
    run("openssl", [...line.split(" "), ...more], { cwd: dir });
  const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  await openssl(`req -x509 ${newKey} -days 2 -subj /CN=holdfast-ca -keyout ca.key -out ca.crt`);
  const sign = async (name: string, serial: number): Promise<void> => {
    await openssl(
      `req ${newKey} -subj /CN=${name} -addext subjectAltName=${names} -keyout ${name}.key -out ${name}.csr`,
    );
    // From the request, since not every version copies its extensions.
    await run("sh", ["-c", `printf 'subjectAltName=${names}' > ${name}.ext`], { cwd: dir });
    await openssl(
      `x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -set_serial ${serial} -days 2 -extfile ${name}.ext -out ${name}.crt`,
    );
  };
  await Promise.all([sign("server", 1), sign("client", 2)]);
}
