/** Channels of different values that exist together or not at all, since ops connect them one to one: a union-find. */
import type { Value } from "../../ir/module.ts";
import { channelsOf } from "./relation.ts";

export interface Slots {
  readonly add: (v: Value) => void;
  readonly join: (a: Value, ca: number, b: Value, cb: number) => void;
  /** The representatives of the channels' classes, once all are joined. */
  readonly classesOf: (v: Value) => Int32Array;
  /** Number of ids handed out; classes are below it. */
  readonly size: () => number;
}

export function createSlots(): Slots {
  const first = new Map<Value, number>();
  const parent: number[] = [];
  const find = (x: number): number => {
    let root = x;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = x; at !== root; ) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  };
  const id = (v: Value, c: number): number => {
    const base = first.get(v);
    if (base === undefined) throw new Error(`no slots for ${v.name}`);
    return base + c;
  };
  return {
    add: (v) => {
      first.set(v, parent.length);
      for (let c = 0; c < channelsOf(v); c++) parent.push(parent.length);
    },
    join: (a, ca, b, cb) => {
      const [x, y] = [find(id(a, ca)), find(id(b, cb))];
      if (x !== y) parent[Math.max(x, y)] = Math.min(x, y);
    },
    classesOf: (v) => {
      const base = id(v, 0);
      return Int32Array.from({ length: channelsOf(v) }, (_, c) => find(base + c));
    },
    size: () => parent.length,
  };
}
