/** Integer softmax: three scalar passes over each row, one 64-bit division per element. */
import { add, c32, type Expr, konst, load, op, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { collapse, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import { stepsOf } from "./epilogue-stage.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";

interface Scaling {
  readonly p: bigint;
  readonly q: bigint;
  readonly zero: number;
  readonly lo: number;
  readonly hi: number;
}

export function lowerSoftmax(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "qc.softmax" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const axis = attr<number>(root, "axis");
  const exp = attr<Dense>(root, "exp");
  const scaling = scalingOf(root);
  if (!fits(exp, y.shape[axis]!, scaling)) return undefined;
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const table = k.block.constant(bytesOf(exp.data, "i32"), "exp");
  fillHalo(k.block, y);
  const outer = collapse(
    y.shape.flatMap((size, a) => (a === axis ? [] : [{ size, steps: [x.strides[a]!, y.strides[a]!] }])),
  );
  const row = { length: y.shape[axis]!, from: x.strides[axis]!, to: y.strides[axis]! };
  if (row.length > 0)
    nest(k.block, outer, zeroAddresses(2), (b, [from, to]) => {
      softmaxRow(b, x, y, table, row, from!, to!, scaling);
    });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

const scalingOf = (root: Op): Scaling => ({
  p: attr<bigint>(root, "p"),
  q: attr<bigint>(root, "q"),
  zero: attr<number>(root, "zero_point"),
  lo: attr<number>(root, "lo"),
  hi: attr<number>(root, "hi"),
});

/** Everything is computed in unsigned 64-bit numbers; an output scale far from 1 / 256 may need more. */
function fits(exp: Dense, length: number, { p, q }: Scaling): boolean {
  const largest = BigInt(Array.from(exp.data).reduce((a, b) => Math.max(a, b), 0));
  const sum = largest * BigInt(length) * q;
  const safe = BigInt(Number.MAX_SAFE_INTEGER);
  return 2n * largest * p + sum < 1n << 64n && 2n * sum < 1n << 64n && 2n * p <= safe && q <= safe;
}

function softmaxRow(
  b: Block,
  x: Layout,
  y: Layout,
  table: string,
  row: { readonly length: number; readonly from: number; readonly to: number },
  from: Expr,
  to: Expr,
  s: Scaling,
): void {
  const at = (inner: Block, base: Expr, i: Expr, step: number): Expr =>
    inner.bind(add(base, scale(i, step)), "at");
  const max: Mutable = b.variable(loadScalar(x, from, x.offset), "max");
  b.loop(1, row.length, 1, (i, inner) => {
    const v = inner.bind(loadScalar(x, at(inner, from, i, row.from), x.offset), "x");
    inner.set(max, op("max_s.i32", [max.ref, v]));
  });
  const exp = (inner: Block, i: Expr): Expr => {
    const d = op("sub.i32", [max.ref, loadScalar(x, at(inner, from, i, row.from), x.offset)]);
    return op("extend_u.i32", [load("i32", table, inner.bind(op("shl_v.i32", [d, c32(2)]), "d"))]);
  };
  const sum = b.variable(konst("i64", 0), "sum");
  b.loop(0, row.length, 1, (i, inner) => {
    inner.set(sum, op("add.i64", [sum.ref, exp(inner, i)]));
  });
  const scaled = b.bind(op("mul.i64", [sum.ref, konst("i64", Number(s.q))]), "scaled");
  const divisor = b.bind(op("shl_v.i64", [scaled, konst("i64", 1)]), "divisor");
  const size = CONTAINER_BYTES[y.container];
  const storeOp: StoreOp = size === 1 ? "store8" : size === 2 ? "store16" : "store";
  b.loop(0, row.length, 1, (i, inner) => {
    const e = op("mul.i64", [exp(inner, i), konst("i64", Number(2n * s.p))]);
    const quotient = op("div_u.i64", [op("add.i64", [e, scaled]), divisor]);
    // Clamped while still wide: a fine output scale may make the quotient exceed 32 bits.
    const limit = konst("i64", Math.max(0, s.hi - s.zero));
    const wide = inner.bind(quotient, "wide");
    const low = op("select.i64", [limit, wide, op("lt_u.i64", [limit, wide])]);
    const v = inner.bind(op("add.i32", [op("wrap.i64", [low]), c32(s.zero)]), "y");
    const clamped = op("min_s.i32", [op("max_s.i32", [v, c32(s.lo)]), c32(s.hi)]);
    inner.push(
      store(y.buffer, at(inner, to, i, row.to), clamped, {
        offset: y.offset,
        op: storeOp,
      }),
    );
  });
}
