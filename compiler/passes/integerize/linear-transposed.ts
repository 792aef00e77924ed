/** Transposed convolution: exact integer sums of products with what the input is above its zero point. */
import { computedWeights, noWeightQuantizer, paddingOffGrid } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { outputsFirst } from "../../ir/ops/transposed.ts";
import { mul, ZERO } from "../../ir/rational.ts";
import { sizeOf } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { accumulator, flat, fromNhwc, linear, pads4, pair, single, toNhwc } from "./linear.ts";
import { intervalOf } from "./ranges.ts";
import { at, type Constant, type PerChannel, type Rep, zeroPoint } from "./rep.ts";
import { integerConst, productSums, rowSums, weightsOhwi } from "./weights.ts";
import { centred } from "./zero.ts";

/** Scale of every output channel: weights vary along axis 1, or along axis 0 where each input channel is a group. */
function outputScales(
  grid: NonNullable<Constant["grid"]>,
  channels: number,
  perGroup: number,
  groups: number,
) {
  const { scale, axis } = grid;
  if (scale.length === 1) return scale;
  const pick = (o: number) => (axis === 1 ? at(scale, o % perGroup) : at(scale, Math.floor(o / perGroup)));
  const known = axis === 1 || (axis === 0 && channels === groups);
  return known ? Array.from({ length: perGroup * groups }, (_, o) => pick(o)) : undefined;
}

/** acc = Σ (t − z)·w; real = S_x·S_w[o]·acc for x = S_x·(t − z). */
export function liftConvTranspose(ctx: Context, op: Op): Rep {
  const [xv, wv] = op.operands as [Value, Value];
  const shape = op.results[0]!.type.shape;
  const w = ctx.rep(wv);
  const given = single(ctx, op, ctx.rep(xv), xv);
  if (w.kind === "poison" || given === undefined || !flat(ctx, op, xv)) return poison(shape);
  if (w.kind !== "constant") {
    ctx.report(computedWeights(ctx, op, wv));
    return poison(shape);
  }
  const spatialRank = xv.type.shape.length - 2;
  const { grid } = w;
  const groups = attr<number>(op, "groups");
  const [channels, perGroup, ...kernel] = wv.type.shape as [number, number, ...number[]];
  const scales: PerChannel | undefined = grid && outputScales(grid, channels, perGroup, groups);
  if (grid === undefined || scales === undefined) {
    ctx.report(noWeightQuantizer(ctx, op, wv, grid !== undefined));
    return poison(shape);
  }
  const x = centred(ctx, op, given, true);
  const term = x.terms[0]!.value;
  const z = zeroPoint(x);
  const range = intervalOf(term);
  if (z === undefined || z < range.min || z > range.max) {
    ctx.report(paddingOffGrid(op, xv.name));
    return poison(shape);
  }
  const oi = outputsFirst(grid.q, channels, perGroup, sizeOf(kernel), groups);
  const packed = weightsOhwi(oi, [perGroup * groups, channels / groups, ...kernel]);
  const [o, kh, kw, i] = packed.shape;
  // A sum that lacks taps is a sum in which they read the zero point.
  const sums = productSums(rowSums(packed.data, o, kh * kw * i), { min: range.min - z, max: range.max - z });
  const [n, , ...out] = shape as [number, number, ...number[]];
  const type = accumulator(ctx, op, [n, ...pair(out, 1), o], Math.min(sums.min, 0), Math.max(sums.max, 0));
  if (type === undefined) return poison(shape);
  const acc = ctx.emit(
    "qc.conv_transpose",
    [toNhwc(ctx, term), integerConst(ctx, packed.data, packed.shape, wv.name)],
    {
      strides: pair(attr(op, "strides"), 1),
      pads: pads4(attr(op, "pads")),
      dilations: pair(attr(op, "dilations"), 1),
      groups,
      output_padding: pair(attr(op, "output_padding"), 0),
      zero: z,
    },
    { type, hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  const scale = scales.map((s) => mul(x.terms[0]!.scale[0]!, s));
  return linear(op, fromNhwc(ctx, acc, spatialRank), scale, [ZERO], shape.length - 1, shape);
}
