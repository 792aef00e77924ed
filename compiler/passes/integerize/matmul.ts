/** Matrix products: by constant weights, and of two tensors, both with zero points. */
import { notUniform, noWeightQuantizer } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { mul, rational, ZERO } from "../../ir/rational.ts";
import { type Context, poison } from "./context.ts";
import { accumulator, linear, single, weightGrid } from "./linear.ts";
import { productOfBlocks } from "./matmul-blocks.ts";
import { intervalOf } from "./ranges.ts";
import { at, type Constant, type PerChannel, type Rep, zeroPoint } from "./rep.ts";
import { type Shifted, shiftedOf } from "./shifted.ts";
import { columnSums, integerConst, productSums } from "./weights.ts";
import { centred } from "./zero.ts";

/** (q − zero)·scale; `scale` varies along an axis counted from the end of the shape. */
interface Factor {
  readonly value: Value;
  readonly scale: PerChannel;
  readonly axis: number;
  readonly zero: number;
}

/** A·B. With a matrix of constants on the right A's offset goes to the affine part; otherwise both zero points are expanded. */
export function liftMatmul(ctx: Context, op: Op): Rep {
  const [av, bv] = op.operands as [Value, Value];
  const [a, b] = [ctx.rep(av), ctx.rep(bv)];
  const shape = op.results[0]!.type.shape;
  if (a.kind === "poison" || b.kind === "poison") return poison(shape);
  return a.kind !== "constant" && b.kind === "constant" && bv.type.shape.length === 2
    ? byMatrix(ctx, op, b)
    : ofFactors(ctx, op, factor(ctx, op, av, 1), factor(ctx, op, bv, 2));
}

const named = (op: Op) => ({ hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) });

/** Raw accumulator; real = S_a·S_b[n]·acc + B_a·S_b[n]·Σ_k b[k, n]. */
function byMatrix(ctx: Context, op: Op, b: Constant): Rep {
  const [av, bv] = op.operands as [Value, Value];
  const shape = op.results[0]!.type.shape;
  const shifted = shiftedOf(ctx, av);
  if (shifted && (shifted.zero.type.shape.at(-1) ?? 1) === 1) return byMatrixShifted(ctx, op, shifted, b);
  const a = single(ctx, op, ctx.rep(av), av);
  if (a !== undefined && b.blocks !== undefined && b.grid === undefined)
    return productOfBlocks(ctx, op, a, b, b.blocks);
  const grid = a && weightGrid(ctx, op, b, bv, 1);
  if (a === undefined || grid === undefined) return poison(shape);
  const [k, n] = bv.type.shape as [number, number];
  const columns = columnSums(grid.q, k, n);
  const sums = productSums(columns, intervalOf(a.terms[0]!.value));
  const type = accumulator(ctx, op, shape, sums.min, sums.max);
  if (type === undefined) return poison(shape);
  const weights = integerConst(ctx, grid.q, bv.type.shape, bv.name);
  const acc = ctx.emit(
    "qc.matmul",
    [a.terms[0]!.value, weights],
    { a_zero: 0, b_zero: 0 },
    { ...named(op), type },
  );
  const offset = Array.from({ length: n }, (_, c) =>
    mul(mul(a.offset[0]!, at(grid.scale, c)), rational(BigInt(columns.sum[c]!))),
  );
  const scale = grid.scale.map((s) => mul(a.terms[0]!.scale[0]!, s));
  return linear(op, acc, scale, offset, 1);
}

/** Σ_k (x − z)·b[k, n] = Σ_k x·b[k, n] − z·Σ_k b[k, n]: the product is one of integers as they are. */
function byMatrixShifted(ctx: Context, op: Op, { x, zero, range }: Shifted, b: Constant): Rep {
  const bv = op.operands[1]!;
  const shape = op.results[0]!.type.shape;
  const grid = weightGrid(ctx, op, b, bv, 1);
  if (grid === undefined) return poison(shape);
  const [k, n] = bv.type.shape as [number, number];
  const columns = columnSums(grid.q, k, n);
  const [raw, sums] = [productSums(columns, intervalOf(x)), productSums(columns, range)];
  const rawType = accumulator(ctx, op, shape, raw.min, raw.max);
  const type = rawType && accumulator(ctx, op, shape, sums.min, sums.max);
  if (rawType === undefined || type === undefined) return poison(shape);
  const weights = integerConst(ctx, grid.q, bv.type.shape, bv.name);
  const attrs = { a_zero: 0, b_zero: 0 };
  const acc = ctx.emit("qc.matmul", [x, weights], attrs, { ...named(op), type: rawType });
  const sum = integerConst(ctx, Int32Array.from(columns.sum), [n], `${bv.name}_sums`);
  return linear(
    op,
    ctx.emit("qc.sub_product", [acc, zero, sum], {}, { ...named(op), type }),
    grid.scale,
    [ZERO],
    1,
  );
}

/** An operand whose sum runs along axis `inner`, counted from the end; reports what no single product of integers expresses. */
function factor(ctx: Context, op: Op, v: Value, inner: number): Factor | undefined {
  const rep = ctx.rep(v);
  if (rep.kind === "constant") {
    const { grid, shape } = rep;
    const axis = grid === undefined || grid.scale.length === 1 ? 1 : shape.length - grid.axis;
    if (grid === undefined || (grid.scale.length > 1 && axis === inner)) {
      ctx.report(noWeightQuantizer(ctx, op, v, grid !== undefined));
      return undefined;
    }
    return { value: integerConst(ctx, grid.q, shape, v.name), scale: grid.scale, axis, zero: 0 };
  }
  const given = single(ctx, op, rep, v);
  if (given === undefined) return undefined;
  const r = centred(ctx, op, given);
  const zero = zeroPoint(r);
  if (zero === undefined) {
    ctx.report(notUniform(ctx, op, v));
    return undefined;
  }
  return { value: r.terms[0]!.value, scale: r.terms[0]!.scale, axis: 1, zero };
}

/** S_a·S_b·Σ (a − z_a)(b − z_b). */
function ofFactors(ctx: Context, op: Op, a: Factor | undefined, b: Factor | undefined): Rep {
  const shape = op.results[0]!.type.shape;
  if (a === undefined || b === undefined) return poison(shape);
  if (a.scale.length > 1 && b.scale.length > 1 && a.axis !== b.axis) {
    ctx.report(notUniform(ctx, op, op.operands[0]!));
    return poison(shape);
  }
  const k = a.value.type.shape.at(-1)!;
  const ends = ({ value, zero }: Factor) => {
    const { min, max } = intervalOf(value);
    return [min - zero, max - zero];
  };
  const products = ends(a).flatMap((x) => ends(b).map((y) => x * y));
  const type = accumulator(ctx, op, shape, k * Math.min(...products), k * Math.max(...products));
  if (type === undefined) return poison(shape);
  const acc = ctx.emit(
    "qc.matmul",
    [a.value, b.value],
    { a_zero: a.zero, b_zero: b.zero },
    { ...named(op), type },
  );
  const n = Math.max(a.scale.length, b.scale.length);
  const scale = Array.from({ length: n }, (_, c) => mul(at(a.scale, c), at(b.scale, c)));
  return linear(op, acc, scale, [ZERO], a.scale.length > 1 ? a.axis : b.axis);
}
