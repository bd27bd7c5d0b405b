/** The clients of several independent servers. */
import { show } from "./checks.ts";

/** What is known of a client in an array. */
interface NodeKind {
  readonly client: string;
  readonly isCluster: boolean;
  readonly keyPrefix: string;
}

/** @throws TypeError unless all are clients of single servers, of one kind, and no two the same */
export function checkNodes(clients: readonly unknown[], kinds: readonly NodeKind[]): void {
  if (clients.length === 0) {
    throw new TypeError("Expected an array of one client or more, each of a server of its own; got an array of 0.");
  }
  clients.forEach((client, i) => {
    const first = clients.indexOf(client);
    if (first < i) {
      throw new TypeError(
        `Expected each client of the array to lead to a server of its own; got the same client as node ${first + 1} and node ${i + 1}.`,
      );
    }
    const [one, kind] = [kinds[0], kinds[i]] as [NodeKind, NodeKind];
    if (kind.isCluster) {
      throw new TypeError(
        `Expected each client of the array to lead to an independent server; got a Cluster as node ${i + 1}, whose servers ` +
          "decide together. Give the Cluster's client by itself.",
      );
    }
    if (kind.client !== one.client) {
      throw new TypeError(
        `Expected clients of one library in the array; got ${one.client} as node 1 and ${kind.client} as node ${i + 1}.`,
      );
    }
    if (kind.keyPrefix !== one.keyPrefix) {
      throw new TypeError(
        `Expected clients with the same keyPrefix in the array; got ${show(one.keyPrefix)} for node 1 and ${show(kind.keyPrefix)} for node ${i + 1}.`,
      );
    }
  });
}
