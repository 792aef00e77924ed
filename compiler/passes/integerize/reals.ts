/** Real expressions at many points at once, in float64 with error bounds: decides most entries of a large table. */
import { opDef } from "../../ir/ops/index.ts";
import { eq, fromNumber, toNumber } from "../../ir/rational.ts";
import { F64 } from "../../ir/types.ts";
import { LIBRARY_ERROR } from "./real.ts";
import type { RealExpr } from "./rep.ts";

/** Values known within `error`, element by element. */
export interface Reals {
  readonly near: Float64Array;
  readonly error: Float64Array;
}

function apply(e: RealExpr & { k: "op" }, args: readonly Float64Array[], n: number): ArrayLike<number> {
  const type = { shape: [n], elem: F64 };
  const operands = args.map((data) => ({ kind: "dense" as const, elem: F64, shape: [n], data }));
  return opDef(e.op).evaluate(
    operands,
    e.attrs,
    [type],
    operands.map(() => type),
  )[0]!.data;
}

/** The expression at the integers min, min + 1, … (n of them); bounds as in `evaluateReal`, without its exact cases. */
export function evaluateReals(e: RealExpr, min: number, n: number): Reals {
  if (e.k === "x")
    return { near: Float64Array.from({ length: n }, (_, i) => min + i), error: new Float64Array(n) };
  if (e.k === "const") {
    const value = toNumber(e.value);
    const near = new Float64Array(n).fill(value);
    const error = eq(fromNumber(value), e.value) ? 0 : Math.abs(value) * 2 ** -53;
    return { near, error: new Float64Array(n).fill(error) };
  }
  const args = e.args.map((a) => evaluateReals(a, min, n));
  const near = args.map((a) => a.near);
  const mid = Float64Array.from(apply(e, near, n));
  const error = mid.map((m) => Math.abs(m) * LIBRARY_ERROR + Number.MIN_VALUE);
  args.forEach((arg, j) => {
    for (const d of [-1, 1]) {
      const moved = near.map((v, k) => (k === j ? v.map((x, i) => x + d * arg.error[i]!) : v));
      const there = apply(e, moved, n);
      for (let i = 0; i < n; i++) error[i]! += 2 * Math.abs(there[i]! - mid[i]!);
    }
  });
  return { near: mid, error };
}
