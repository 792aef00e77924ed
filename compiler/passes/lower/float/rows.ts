/** Loops over rows of a float tensor: the elements along some axes, for every position along the others. */
import { add, c32, type Expr, konst, load, scale } from "../../../ir/kernel/ir.ts";
import type { Block } from "../block.ts";
import { type Axis, nest } from "../elementwise-load.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import { f, select, shuffle } from "./lanes.ts";

/** Four elements of a row, or one element of each of four rows. */
export interface Lanes {
  /** Byte addresses of the first, without the layouts' offsets. */
  readonly x: Expr;
  readonly y: Expr;
  /** How many there are; of fewer than four in a row, `mask` says which. */
  readonly count: number;
  readonly mask: Expr | undefined;
}

/** One row, or four side by side. */
export interface Row {
  /** Runs `body` for all elements. */
  readonly each: (b: Block, body: (b: Block, lanes: Lanes) => void) => void;
  /** Σ-like: `step` takes in the elements, `merge` joins what lanes hold. Every lane of the result is its row's. */
  readonly fold: (
    b: Block,
    start: number,
    step: (b: Block, acc: Expr, x: Expr) => Expr,
    merge: (a: Expr, b: Expr) => Expr,
  ) => Expr;
  /** Where the row's single result goes, and how many rows there are. */
  readonly to: Expr;
  readonly count: number;
}

/** A layout with at least one axis. */
const withAxis = (l: Layout): Layout => (l.shape.length === 0 ? { ...l, shape: [1], strides: [4] } : l);

/** Bytes per step of each axis of x in y: of the same shape, or of one where the row's axes are gone or have size 1. */
function stepsInto(x: Layout, y: Layout, along: ReadonlySet<number>): number[] {
  if (y.shape.length === x.shape.length) return x.shape.map((d, a) => (y.shape[a] === d ? y.strides[a]! : 0));
  const kept = x.shape.map((_, a) => a).filter((a) => !along.has(a));
  return x.shape.map((_, a) => (along.has(a) ? 0 : (y.strides[kept.indexOf(a)] ?? 0)));
}

/** Calls `body` for every row of `x` along the axes. `y`: of x's shape, or with those axes reduced. */
export function eachRow(
  block: Block,
  given: Layout,
  result: Layout,
  axes: readonly number[],
  body: (b: Block, row: Row) => void,
): void {
  if (given.shape.includes(0)) return;
  const along = new Set(axes);
  const x = withAxis(given);
  const steps = stepsInto(x, result, along);
  const axisOf = (a: number): Axis => ({ size: x.shape[a]!, steps: [x.strides[a]!, steps[a]!] });
  const last = x.shape.length - 1;
  const all = x.shape.map((_, a) => a);
  const outer = all.filter((a) => !along.has(a) && a !== last).map(axisOf);
  const inner = all.filter((a) => along.has(a) && a !== last).map(axisOf);
  const size = x.shape[last]!;
  const rest = size % 4;
  nest(block, outer, [c32(0), c32(0)], (b, [from, to]) => {
    if (along.has(last)) {
      body(b, horizontal(x, from!, to!, inner, axisOf(last)));
      return;
    }
    const chunk = (c: Block, at: Expr, count: number): void => {
      const start = (base: Expr, step: number): Expr => c.bind(add(base, scale(at, step)), "at");
      body(c, vertical(x, start(from!, x.strides[last]!), start(to!, steps[last]!), inner, count));
    };
    b.loop(0, size - rest, 4, (i, c) => {
      chunk(c, i, 4);
    });
    if (rest > 0) chunk(b, c32(size - rest), rest);
  });
}

/** Four rows side by side, along other axes than the last. */
function vertical(x: Layout, from: Expr, to: Expr, inner: readonly Axis[], count: number): Row {
  const each: Row["each"] = (b, body) => {
    nest(b, inner, [from, to], (c, [s, t]) => {
      body(c, { x: s!, y: t!, count, mask: undefined });
    });
  };
  return {
    each,
    to,
    count,
    fold: (b, start, step) => {
      const acc = b.variable(f(start), "acc");
      each(b, (c, lanes) => {
        c.set(acc, step(c, acc.ref, c.bind(load("i32x4", x.buffer, lanes.x, x.offset), "x")));
      });
      return acc.ref;
    },
  };
}

/** One row that runs along the last axis. */
function horizontal(x: Layout, from: Expr, to: Expr, inner: readonly Axis[], axis: Axis): Row {
  const rest = axis.size % 4;
  const mask = konst(
    "i32x4",
    [0, 1, 2, 3].map((l) => (l < rest ? -1 : 0)),
  );
  const each: Row["each"] = (b, body) => {
    nest(b, inner, [from, to], (c, [s, t]) => {
      const at = (d: Block, base: Expr, i: Expr, step: number): Expr =>
        d.bind(add(base, scale(i, step)), "at");
      c.loop(0, axis.size - rest, 4, (i, d) => {
        body(d, { x: at(d, s!, i, 4), y: at(d, t!, i, axis.steps[1]!), count: 4, mask: undefined });
      });
      const end = c32(axis.size - rest);
      if (rest > 0) body(c, { x: at(c, s!, end, 4), y: at(c, t!, end, axis.steps[1]!), count: rest, mask });
    });
  };
  return {
    each,
    to,
    count: 1,
    fold: (b, start, step, merge) => {
      const acc = b.variable(f(start), "acc");
      each(b, (c, lanes) => {
        const next = c.bind(step(c, acc.ref, c.bind(load("i32x4", x.buffer, lanes.x, x.offset), "x")), "n");
        c.set(acc, lanes.mask ? select(lanes.mask, next, acc.ref) : next);
      });
      const halves = b.bind(merge(acc.ref, shuffle(acc.ref, acc.ref, [2, 3, 0, 1])), "h");
      return b.bind(merge(halves, shuffle(halves, halves, [1, 0, 3, 2])), "row");
    },
  };
}

/** Stores lanes of the result. */
export const storeLanes = (b: Block, y: Layout, at: Expr, value: Expr, count: number): void =>
  storeElements(b, y, at, y.offset, [value], count);
