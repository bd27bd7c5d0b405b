/** Who has a write, and who must have it. Proofs of it are made by drivers: see drivers/proof.ts. */

/** Who has a write, beside the memory of the server that made it. */
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

/** Whether what was reached is no less than what was wanted. */
export function meets(reached: Durability | undefined, { replicas, aof }: Durability): boolean {
  return reached !== undefined && reached.replicas >= replicas && (reached.aof || !aof);
}
