/** Indices of the k greatest elements of each row: k passes over it, each for the next one in order. */
import { add, type Expr, konst, load, op, scale } from "../../../ir/kernel/ir.ts";
import { attr } from "../../../ir/op.ts";
import { createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { stepsOf } from "../epilogue-stage.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { and, f, feq, flt, fneg, i, iadd, or, select, shuffle } from "./lanes.ts";
import { eachRow, storeLanes } from "./rows.ts";

const MOST = 2 ** 31 - 1;

export function lowerTopK(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "index.top_k" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const { elem } = root.operands[0]!.type;
  const float = elem.kind === "float";
  // Lanes are read four at a time, with a sign.
  if (
    x.container !== "f32" &&
    (x.container !== "i32" || (elem.kind === "int" && !elem.signed && elem.bits === 32))
  )
    return undefined;
  const axis = attr<number>(root, "axis");
  const count = attr<number>(root, "k");
  const largest = attr<boolean>(root, "largest");
  const along = axis === x.shape.length - 1;
  const [top, bottom] = float
    ? [f(Number.POSITIVE_INFINITY), f(Number.NEGATIVE_INFINITY)]
    : [i(MOST), i(-(2 ** 31))];
  const above = (a: Expr, b: Expr): Expr => (float ? flt(b, a) : op("gt_s.i32x4", [a, b]));
  const equal = (a: Expr, b: Expr): Expr => (float ? feq(a, b) : op("eq.i32x4", [a, b]));
  /** Whether (v, p) comes before (w, q): greater, or in front. */
  const before = (v: Expr, p: Expr, w: Expr, q: Expr): Expr =>
    or(above(v, w), and(equal(v, w), op("gt_s.i32x4", [q, p])));
  // The least first: −1 − x turns the order of integers around without overflow.
  const turned = (v: Expr): Expr => (largest ? v : float ? fneg(v) : op("xor.i32x4", [v, i(-1)]));
  eachRow(k.block, x, y, [axis], (b, row) => {
    const lastValue = b.variable(top, "last_value");
    const lastIndex = b.variable(i(-1), "last_index");
    b.loop(0, count, 1, (turn, c) => {
      const value = c.variable(bottom, "best");
      const index = c.variable(i(MOST), "index");
      const at = c.variable(konst("i32x4", along ? [0, 1, 2, 3] : [0, 0, 0, 0]), "at");
      row.each(c, (d, lanes) => {
        const v = d.bind(turned(load("i32x4", x.buffer, lanes.x, x.offset)), "x");
        const next = before(lastValue.ref, lastIndex.ref, v, at.ref);
        const wins = d.bind(and(next, before(v, at.ref, value.ref, index.ref)), "wins");
        const taken = lanes.mask ? d.bind(and(wins, lanes.mask), "wins") : wins;
        d.set(index, select(taken, at.ref, index.ref));
        d.set(value, select(taken, v, value.ref));
        d.set(at, iadd(at.ref, i(along ? 4 : 1)));
      });
      let [v, p]: [Expr, Expr] = [
        c.bind(or(value.ref, value.ref), "v"),
        c.bind(or(index.ref, index.ref), "p"),
      ];
      if (along)
        for (const order of [
          [2, 3, 0, 1],
          [1, 0, 3, 2],
        ] as const) {
          const [w, q] = [v, p].map((e) => c.bind(shuffle(e, e, order), "s")) as [Expr, Expr];
          const wins = c.bind(before(w, q, v, p), "wins");
          [v, p] = [c.bind(select(wins, w, v), "v"), c.bind(select(wins, q, p), "p")];
        }
      c.set(lastValue, v);
      c.set(lastIndex, p);
      // A row with NaN has fewer elements in order.
      const index32 = op("min_s.i32x4", [op("max_s.i32x4", [p, i(0)]), i(x.shape[axis]! - 1)]);
      const to = c.bind(add(row.to, scale(turn, y.strides[axis]!)), "to");
      storeLanes(c, y, to, index32, row.count);
    });
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}
