/** Convolutions of integers less a zero point that is known at run time only. */
import type { Elements, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { ZERO } from "../../ir/rational.ts";
import { sizeOf } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { accumulator, flat, fromNhwc, linear, pads4, pair, toNhwc, weightGrid } from "./linear.ts";
import { intervalOf } from "./ranges.ts";
import type { Rep } from "./rep.ts";
import { shiftedOf } from "./shifted.ts";
import { integerConst, productSums, rowSums, weightsOhwi } from "./weights.ts";

interface Geometry {
  /** Of the input and the output. */
  readonly input: readonly [number, number];
  readonly output: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Rows above, columns before. */
  readonly start: readonly [number, number];
}

/** Σ w over the taps inside the input, for every position and output channel: [H, W, O] of O,KH,KW,I weights. */
function sumsInside(data: Elements, [o, kh, kw, i]: readonly number[], g: Geometry): Int32Array {
  const taps = kh! * kw!;
  const perTap = new Float64Array(o! * taps);
  for (let t = 0; t < perTap.length; t++)
    for (let c = 0; c < i!; c++) perTap[t] = perTap[t]! + data[t * i! + c]!;
  const [h, w] = g.output;
  const out = new Int32Array(h * w * o!);
  const inside = (axis: 0 | 1, at: number, k: number): boolean => {
    const p = at * g.strides[axis] + k * g.dilations[axis] - g.start[axis];
    return p >= 0 && p < g.input[axis];
  };
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++)
      for (let r = 0; r < kh!; r++) {
        if (!inside(0, y, r)) continue;
        for (let s = 0; s < kw!; s++) {
          if (!inside(1, x, s)) continue;
          for (let c = 0; c < o!; c++) out[(y * w + x) * o! + c]! += perTap[c * taps + r * kw! + s]!;
        }
      }
  return out;
}

/**
 * conv(x − z, w) = conv(x, w) − z·Σ w, the sum over the taps inside x: outside, x − z is zero, and so is what the first
 * product reads. Undefined where the input is no such difference, or has zero points per channel.
 */
export function liftShiftedConv(ctx: Context, op: Op): Rep | undefined {
  const [xv, wv] = op.operands as [Value, Value];
  const shifted = shiftedOf(ctx, xv);
  const w = ctx.rep(wv);
  if (shifted === undefined || sizeOf(shifted.zero.type.shape) !== 1 || w.kind !== "constant")
    return undefined;
  const shape = op.results[0]!.type.shape;
  const grid = weightGrid(ctx, op, w, wv, 0);
  if (grid === undefined || !flat(ctx, op, xv)) return poison(shape);
  const packed = weightsOhwi(grid.q, wv.type.shape);
  const [o, kh, kw, i] = packed.shape;
  const spatialRank = xv.type.shape.length - 2;
  const [n] = shape as [number];
  const [oh, ow] = spatialRank === 2 ? [shape[2]!, shape[3]!] : [1, shape[2]!];
  const rows = rowSums(packed.data, o, kh * kw * i);
  const zeroes = { min: Math.min(0, shifted.range.min), max: Math.max(0, shifted.range.max) };
  const held = intervalOf(shifted.x);
  const raw = productSums(rows, { min: Math.min(0, held.min), max: Math.max(0, held.max) });
  const sums = productSums(rows, zeroes);
  const rawType = accumulator(ctx, op, [n, oh, ow, o], raw.min, raw.max);
  const type = rawType && accumulator(ctx, op, [n, oh, ow, o], sums.min, sums.max);
  if (rawType === undefined || type === undefined) return poison(shape);
  const pads = pads4(attr(op, "pads"));
  const [strides, dilations] = [pair(attr(op, "strides"), 1), pair(attr(op, "dilations"), 1)];
  const named = { hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) };
  const x = toNhwc(ctx, shifted.x);
  const acc = ctx.emit(
    "qc.conv",
    [x, integerConst(ctx, packed.data, packed.shape, wv.name)],
    { strides, pads, dilations, groups: attr(op, "groups"), pad_value: 0 },
    { ...named, type: rawType },
  );
  const [, h, width] = x.type.shape as [number, number, number];
  const padded = pads.some((p) => p !== 0);
  const geometry: Geometry = {
    input: [h, width],
    output: [oh, ow],
    strides,
    dilations,
    start: [pads[0], pads[1]],
  };
  const sum = padded
    ? integerConst(ctx, sumsInside(packed.data, packed.shape, geometry), [oh, ow, o], `${wv.name}_sums`)
    : integerConst(ctx, Int32Array.from(rows.sum), [o], `${wv.name}_sums`);
  const zero = ctx.emit("layout.reshape", [shifted.zero], { shape: [1] });
  const y = ctx.emit("qc.sub_product", [acc, zero, sum], {}, { ...named, type });
  return linear(op, fromNhwc(ctx, y, spatialRank), grid.scale, [ZERO], shape.length - 1, shape);
}
