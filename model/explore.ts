/** Explores every state of a small model, one step at a time. Knows nothing of locks. */

/** A state is a row of small numbers; parts of it that are interchangeable may be given in any order. */
export type State = Uint8Array;

export interface Model {
  readonly initial: State;
  /** Offers each state that may follow, with what happened. It must not change `state`. */
  next(state: State, offer: (step: string, to: State) => void): void;
  /** What is wrong with this state, if anything is. */
  violation(state: State): string | undefined;
  /** Brings states that mean the same to the same form. */
  normalize(state: State): void;
  describe(state: State): string;
}

export interface Explored {
  readonly states: number;
  readonly violation?: { readonly what: string; readonly path: readonly string[] };
  /** More states than allowed: what was not looked at may hide anything. */
  readonly isCut: boolean;
}

/** Breadth first, so that a path to a violation is a shortest one. */
export function explore(model: Model, most = Infinity): Explored {
  const seen = new Seen();
  const parents: number[] = [-1];
  let layer: [number, State][] = [[0, model.initial]];
  let states = 1;
  seen.add(model.initial);
  while (layer.length > 0) {
    const next: [number, State][] = [];
    for (const [index, state] of layer) {
      const found: { what: string; at: number }[] = [];
      model.next(state, (_, to) => {
        model.normalize(to);
        if (!seen.add(to)) return;
        parents.push(index);
        const what = model.violation(to);
        if (what !== undefined) found.push({ what, at: states });
        next.push([states++, to]);
      });
      const [first] = found;
      if (first)
        return { states, isCut: false, violation: { what: first.what, path: retrace(model, parents, first.at) } };
      if (states > most) return { states, isCut: true };
    }
    layer = next;
  }
  return { states, isCut: false };
}

/** Runs again and notes the steps on the way to a state. */
function retrace(model: Model, parents: readonly number[], to: number): string[] {
  const way: number[] = [];
  for (let at = to; at > 0; at = parents[at] as number) way.unshift(at);
  const seen = new Seen();
  seen.add(model.initial);
  let layer: [number, State][] = [[0, model.initial]];
  const path: string[] = [];
  for (let states = 1; way.length > path.length;) {
    const next: [number, State][] = [];
    for (const [index, state] of layer) {
      model.next(state, (step, reached) => {
        model.normalize(reached);
        if (!seen.add(reached)) return;
        if (states === way[path.length]) path.push(`${step}\n      ${model.describe(reached)}`);
        next.push([states++, reached]);
      });
      if (index > (way.at(-1) as number)) break;
    }
    layer = next;
  }
  return path;
}

/**
 * States that can go on forever without reaching the goal, though every step that is possible again and again is taken:
 * a deadlock, or a livelock that is no fault of the scheduler. Undefined if there are none.
 *
 * @param isGoal nothing more is to be shown of this state
 */
export function findStuck(model: Model, isGoal: (state: State) => boolean, most = Infinity): Explored {
  const graph = new Graph(model, isGoal, most);
  if (graph.isCut) return { states: graph.size, isCut: true };
  for (const component of graph.components()) {
    if (!graph.isTrap(component)) continue;
    const at = component[0] as number;
    return { states: graph.size, isCut: false, violation: { what: "stuck", path: graph.pathTo(at) } };
  }
  return { states: graph.size, isCut: false };
}

class Graph {
  readonly #states: State[];
  readonly #edges: [step: string, to: number][][] = [];
  readonly #parents: [from: number, step: string][] = [[-1, ""]];
  readonly #model: Model;
  readonly isCut: boolean = false;

  constructor(model: Model, isGoal: (state: State) => boolean, most: number) {
    this.#model = model;
    this.#states = [model.initial];
    const numbers = new Map([[textOf(model.initial), 0]]);
    for (let at = 0; at < this.#states.length; at++) {
      const edges: [string, number][] = [];
      this.#edges.push(edges);
      if (isGoal(this.#states[at] as State)) continue;
      model.next(this.#states[at] as State, (step, to) => {
        model.normalize(to);
        const text = textOf(to);
        let number = numbers.get(text);
        if (number === undefined) {
          numbers.set(text, (number = this.#states.length));
          this.#states.push(to);
          this.#parents.push([at, step]);
        }
        edges.push([step, number]);
      });
      if (edges.length === 0) edges.push(["nothing can happen", at]);
      if (this.#states.length > most) {
        this.isCut = true;
        return;
      }
    }
  }

  get size(): number {
    return this.#states.length;
  }

  /** Tarjan's strongly connected components, those with a cycle. */
  *components(): Generator<number[]> {
    const index = new Int32Array(this.size).fill(-1);
    const low = new Int32Array(this.size);
    const isOpen = new Uint8Array(this.size);
    const open: number[] = [];
    let count = 0;
    const enter = (at: number): [number, number] => {
      index[at] = low[at] = count++;
      open.push(at);
      isOpen[at] = 1;
      return [at, 0];
    };
    for (let root = 0; root < this.size; root++) {
      if (index[root] !== -1) continue;
      const calls = [enter(root)];
      while (calls.length > 0) {
        const call = calls.at(-1) as [number, number];
        const [at] = call;
        const edge = this.#edges[at]?.[call[1]++];
        if (edge) {
          const [, to] = edge;
          if (index[to] === -1) calls.push(enter(to));
          else if (isOpen[to]) low[at] = Math.min(low[at] as number, index[to] as number);
          continue;
        }
        calls.pop();
        const above = calls.at(-1)?.[0];
        if (above !== undefined) low[above] = Math.min(low[above] as number, low[at] as number);
        if (low[at] !== index[at]) continue;
        const component: number[] = [];
        for (let each = -1; each !== at;) {
          each = open.pop() as number;
          isOpen[each] = 0;
          component.push(each);
        }
        if (component.length > 1 || this.#edges[at]?.some(([, to]) => to === at)) yield component;
      }
    }
  }

  /** True if a run may stay here forever though it takes every step that is possible again and again. */
  isTrap(component: readonly number[]): boolean {
    const inside = new Set(component);
    const leaving = new Set<string>();
    const staying = new Set<string>();
    for (const at of component) {
      for (const [step, to] of this.#edges[at] as [string, number][]) (inside.has(to) ? staying : leaving).add(step);
    }
    return [...leaving].every((step) => staying.has(step));
  }

  pathTo(at: number): string[] {
    const path: string[] = [];
    for (let each = at; each > 0;) {
      const [from, step] = this.#parents[each] as [number, string];
      path.unshift(`${step}\n      ${this.#model.describe(this.#states[each] as State)}`);
      each = from;
    }
    return path;
  }
}

function textOf(state: State): string {
  return String.fromCharCode(...state);
}

/** A set of states by two hashes of 32 bits: of ten million, two share both with a chance of one in 400,000. */
class Seen {
  #size = 0;
  #table = new Uint32Array(2 << 16);

  /** False if it was there. */
  add(state: State): boolean {
    if (this.#size * 4 > this.#table.length) this.#grow();
    let a = 0x811c9dc5;
    let b = 0x9747b28c;
    for (let i = 0; i < state.length; i++) {
      a = Math.imul(a ^ (state[i] as number), 0x01000193);
      b = Math.imul(b ^ (state[i] as number), 0x85ebca6b);
      b ^= b >>> 13;
    }
    return this.#put(a >>> 0 || 1, b >>> 0);
  }

  #put(a: number, b: number): boolean {
    const table = this.#table;
    const mask = table.length / 2 - 1;
    for (let at = (a ^ Math.imul(b, 31)) & mask; ; at = (at + 1) & mask) {
      if (table[2 * at] === 0) {
        table[2 * at] = a;
        table[2 * at + 1] = b;
        this.#size++;
        return true;
      }
      if (table[2 * at] === a && table[2 * at + 1] === b) return false;
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Uint32Array(old.length * 2);
    this.#size = 0;
    for (let at = 0; at < old.length; at += 2) if (old[at] !== 0) this.#put(old[at] as number, old[at + 1] as number);
  }
}
