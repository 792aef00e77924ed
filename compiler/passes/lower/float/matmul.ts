/** Batched float matrix products: four rows of a by eight columns of b at a time. */
import { add, c32, type Expr, load, scale } from "../../../ir/kernel/ir.ts";
import { type Block, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, broadcastStrides, collapse, nest } from "../elementwise-load.ts";
import { stepsOf } from "../epilogue-stage.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fadd, fmul, splatLoad } from "./lanes.ts";

const ROWS = 4;
const COLUMNS = 8;

export function lowerFloatMatmul(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "float.matmul" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const [a, b] = root.operands.map((v) => operandLayout(stage, k.block, v)) as [Layout, Layout];
  const batch = y.shape.slice(0, -2);
  const steps = (l: Layout): number[] =>
    broadcastStrides({ shape: l.shape.slice(0, -2), strides: l.strides.slice(0, -2) }, batch);
  const [sa, sb] = [steps(a), steps(b)];
  const axes = collapse(batch.map((size, i): Axis => ({ size, steps: [sa[i]!, sb[i]!, y.strides[i]!] })));
  if (!y.shape.includes(0))
    nest(k.block, axes, [c32(0), c32(0), c32(0)], (block, [fromA, fromB, to]) => {
      product(block, a, b, y, [fromA!, fromB!, to!]);
    });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** Runs `body` for 0 … n − 1 in steps of `width`, then once for what remains. */
export function pieces(
  b: Block,
  n: number,
  width: number,
  body: (b: Block, at: Expr, count: number) => void,
): void {
  const rest = n % width;
  b.loop(0, n - rest, width, (i, inner) => {
    body(inner, i, width);
  });
  if (rest > 0) body(b, c32(n - rest), rest);
}

function product(block: Block, a: Layout, b: Layout, y: Layout, at: readonly [Expr, Expr, Expr]): void {
  const [m, n] = y.shape.slice(-2) as [number, number];
  const depth = a.shape.at(-1)!;
  const row = (l: Layout): number => l.strides.at(-2)!;
  pieces(block, m, ROWS, (byRow, i, rows) => {
    const first = byRow.bind(add(at[0], scale(i, row(a))), "a");
    const target = byRow.bind(add(at[2], scale(i, row(y))), "y");
    pieces(byRow, n, COLUMNS, (tile, j, columns) => {
      const groups = Math.ceil(columns / 4);
      const column = tile.bind(add(at[1], scale(j, 4)), "b");
      const acc = Array.from({ length: rows }, () =>
        Array.from({ length: groups }, () => tile.variable(f(0), "acc")),
      );
      const steps = [a.strides.at(-1)!, row(b)];
      nest(tile, [{ size: depth, steps }], [first, column], (inner, [x, w]) => {
        const weights = Array.from({ length: groups }, (_, g) =>
          inner.bind(load("i32x4", b.buffer, w!, b.offset + 16 * g), "w"),
        );
        acc.forEach((list, r) => {
          const v = inner.bind(splatLoad(a.buffer, x!, a.offset + r * row(a)), "x");
          list.forEach((sum, g) => {
            inner.set(sum, fadd(sum.ref, fmul(v, weights[g]!)));
          });
        });
      });
      const to = tile.bind(add(target, scale(j, 4)), "to");
      acc.forEach((list, r) => {
        const values = list.map((sum) => sum.ref);
        storeElements(tile, y, to, y.offset + r * row(y), values, columns);
      });
    });
  });
}
