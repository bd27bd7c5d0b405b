// redlock 4 ships no types, and those of 5.0.0-beta.2 are not in its `exports`.
declare module "redlock4" {
  export default class Redlock {
    constructor(clients: readonly unknown[], settings: object);
    lock(name: string, ttl: number): Promise<{ unlock(): Promise<void> }>;
  }
}

declare module "redlock5" {
  export default class Redlock {
    constructor(clients: readonly unknown[], settings: object);
    acquire(names: readonly string[], ttl: number): Promise<{ release(): Promise<unknown> }>;
  }
}
