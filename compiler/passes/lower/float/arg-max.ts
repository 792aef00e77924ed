/** Index of the greatest element of each row. */
import { type Expr, konst, load, op } from "../../../ir/kernel/ir.ts";
import { attr } from "../../../ir/op.ts";
import { type Block, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { stepsOf } from "../epilogue-stage.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { and, f, feq, flt, i, iadd, or, select, shuffle } from "./lanes.ts";
import { eachRow, type Row, storeLanes } from "./rows.ts";

const MOST = 2 ** 31 - 1;
const greater = (a: Expr, b: Expr): Expr => op("gt_s.i32x4", [a, b]);

export function lowerArgMax(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "float.arg_max" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  if (y.container !== "i32") return undefined;
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const axis = attr<number>(root, "axis");
  const last = attr<boolean>(root, "last");
  const along = axis === x.shape.length - 1;
  eachRow(k.block, x, y, [axis], (b, row) => {
    const best = indexOf(b, row, x, last, along);
    // A row of nothing but NaN has no greatest element.
    const inside = op("min_s.i32x4", [op("max_s.i32x4", [best, i(0)]), i(x.shape[axis]! - 1)]);
    storeLanes(b, y, row.to, inside, row.count);
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** `along`: lanes are neighbours in the row, not rows. */
function indexOf(b: Block, row: Row, x: Layout, last: boolean, along: boolean): Expr {
  const value = b.variable(f(Number.NEGATIVE_INFINITY), "best");
  const index = b.variable(i(last ? -1 : MOST), "index");
  const at = b.variable(konst("i32x4", along ? [0, 1, 2, 3] : [0, 0, 0, 0]), "at");
  /** Whether (v, p) comes before (w, q). */
  const before = (v: Expr, p: Expr, w: Expr, q: Expr): Expr =>
    or(flt(w, v), and(feq(v, w), last ? greater(p, q) : greater(q, p)));
  row.each(b, (c, lanes) => {
    const v = c.bind(load("i32x4", x.buffer, lanes.x, x.offset), "x");
    const wins = before(v, at.ref, value.ref, index.ref);
    const taken = c.bind(lanes.mask ? and(wins, lanes.mask) : wins, "wins");
    c.set(index, select(taken, at.ref, index.ref));
    c.set(value, select(taken, v, value.ref));
    c.set(at, iadd(at.ref, i(along ? 4 : 1)));
  });
  if (!along) return index.ref;
  let [v, p]: [Expr, Expr] = [value.ref, index.ref];
  for (const order of [
    [2, 3, 0, 1],
    [1, 0, 3, 2],
  ] as const) {
    const [w, q] = [v, p].map((e) => b.bind(shuffle(e, e, order), "s")) as [Expr, Expr];
    const wins = b.bind(before(w, q, v, p), "wins");
    [v, p] = [b.bind(select(wins, w, v), "v"), b.bind(select(wins, q, p), "p")];
  }
  return p;
}
