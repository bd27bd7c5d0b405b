/** Which replicas or disks have stored a write, and which must. Drivers find out: see drivers/proof.ts. */

/** What has stored a write, other than the memory of the server that made it. */
export interface Durability {
  /** How many replicas; with `aof`, how many that have it on their own disks. */
  readonly replicas: number;
  /** The server's disk. */
  readonly aof: boolean;
}

/** What must have stored a grant before its holder is notified. */
export interface Wish extends Durability {
  /** How long that may take, in milliseconds. */
  readonly timeout: number;
}

/** Whether no less was reached than was required. */
export function meets(reached: Durability | undefined, { replicas, aof }: Durability): boolean {
  return reached !== undefined && reached.replicas >= replicas && (reached.aof || !aof);
}
