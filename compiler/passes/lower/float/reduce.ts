/** Sums, means, extremes, softmax and normalizations of float tensors. */
import { type Expr, load } from "../../../ir/kernel/ir.ts";
import { attr } from "../../../ir/op.ts";
import { sizeOf } from "../../../ir/types.ts";
import { type Block, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { stepsOf } from "../epilogue-stage.ts";
import { isDense, type Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { exp } from "./functions.ts";
import { f, fadd, fdiv, feq, fmax, fmin, fmul, fsqrt, fsub, select } from "./lanes.ts";
import { eachRow, type Row, storeLanes } from "./rows.ts";

const sum = (row: Row, b: Block): Expr => row.fold(b, 0, (_, acc, x) => fadd(acc, x), fadd);
const read = (l: Layout, at: Expr): Expr => load("i32x4", l.buffer, at, l.offset);

export function lowerFloatReduce(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (!root || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const from = (): Layout => operandLayout(stage, k.block, root.operands[0]!);
  const { shape } = root.operands[0]?.type ?? { shape: [] };
  const finish = (): Lowered => k.finish(paramBuffers(stage), [y.buffer]);
  switch (root.name) {
    case "float.reduce_sum":
    case "float.reduce_mean": {
      const axes = attr<readonly number[]>(root, "axes");
      const n = axes.reduce((m, a) => m * shape[a]!, 1);
      eachRow(k.block, from(), y, axes, (b, row) => {
        const total = sum(row, b);
        storeLanes(b, y, row.to, root.name === "float.reduce_sum" ? total : fdiv(total, f(n)), row.count);
      });
      return finish();
    }
    case "float.reduce_max":
    case "float.reduce_min": {
      const [start, pick] =
        root.name === "float.reduce_max"
          ? [Number.NEGATIVE_INFINITY, fmax]
          : [Number.POSITIVE_INFINITY, fmin];
      const x = from();
      const axes = attr<readonly number[]>(root, "axes");
      // All elements in memory order are one row.
      const whole = isDense(x) && axes.length === x.shape.length;
      const rows = whole ? { ...x, shape: [sizeOf(x.shape)], strides: [4] } : x;
      const to = whole ? { ...y, shape: [], strides: [] } : y;
      eachRow(k.block, rows, to, whole ? [0] : axes, (b, row) => {
        storeLanes(
          b,
          y,
          row.to,
          row.fold(b, start, (_, acc, v) => pick(acc, v), pick),
          row.count,
        );
      });
      return finish();
    }
    case "float.softmax": {
      const x = from();
      eachRow(k.block, x, y, [attr<number>(root, "axis")], (b, row) => {
        softmax(b, row, x, y);
      });
      return finish();
    }
    case "float.normalize": {
      const first = attr<number>(root, "axis");
      const axes = shape.map((_, a) => a).filter((a) => a >= first);
      const x = from();
      const n = axes.reduce((m, a) => m * shape[a]!, 1);
      eachRow(k.block, x, y, axes, (b, row) => {
        normalize(b, row, x, y, n, attr<boolean>(root, "centre"), attr<number>(root, "epsilon"));
      });
      return finish();
    }
    default:
      return undefined;
  }
}

function softmax(b: Block, row: Row, x: Layout, y: Layout): void {
  const top = row.fold(b, Number.NEGATIVE_INFINITY, (_, acc, v) => fmax(acc, v), fmax);
  row.each(b, (c, { x: s, y: t, count }) => {
    storeLanes(c, y, t, exp(c, c.bind(fsub(read(x, s), top), "d")), count);
  });
  // What was stored is summed: folding the exponentials of x again is the same.
  const total = row.fold(b, 0, (c, acc, v) => fadd(acc, exp(c, c.bind(fsub(v, top), "d"))), fadd);
  row.each(b, (c, { y: t, count }) => {
    storeLanes(c, y, t, fdiv(read(y, t), total), count);
  });
}

/** (x − μ) / √(σ² + ε), or without `centre` x / √(mean of x² + ε); 0 where the root is 0. */
function normalize(
  b: Block,
  row: Row,
  x: Layout,
  y: Layout,
  n: number,
  centre: boolean,
  epsilon: number,
): void {
  const mean = b.bind(centre ? fdiv(sum(row, b), f(n)) : f(0), "mean");
  const moved = (c: Block, v: Expr): Expr => (centre ? c.bind(fsub(v, mean), "d") : v);
  const squares = row.fold(
    b,
    0,
    (c, acc, v) => {
      const d = moved(c, v);
      return fadd(acc, fmul(d, d));
    },
    fadd,
  );
  const root = b.bind(fsqrt(fadd(fdiv(squares, f(n)), f(epsilon))), "root");
  row.each(b, (c, { x: s, y: t, count }) => {
    const d = moved(c, c.bind(read(x, s), "x"));
    storeLanes(c, y, t, select(feq(root, f(0)), f(0), fdiv(d, root)), count);
  });
}
