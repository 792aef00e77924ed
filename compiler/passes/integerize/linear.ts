/** Convolution, pooling, sums and means: exact integer accumulators with an exact affine reading. */

import {
  accumulatorTooWide,
  computedWeights,
  manySpatialAxes,
  notUniform,
  noWeightQuantizer,
  paddingOffGrid,
} from "../../ir/messages-quant.ts";
import type { Elements, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { add, div, mul, rational, sign, ZERO } from "../../ir/rational.ts";
import { intTypeFor, type TensorType, tensor } from "../../ir/types.ts";
import { convParts } from "./blocks.ts";
import { type Context, poison } from "./context.ts";
import { materialize } from "./materialize.ts";
import { intervalOf } from "./ranges.ts";
import {
  at,
  type Constant,
  collapse,
  type Linear,
  type PerChannel,
  perTensor,
  type Rep,
  zeroPoint,
} from "./rep.ts";
import { integerConst, productSums, rowSums, weightsOhwi } from "./weights.ts";
import { centred } from "./zero.ts";

/** A linear operand with one term, one scale, no pending clamp; reports and returns undefined otherwise. */
export function single(ctx: Context, op: Op, rep: Rep, operand: Value): Linear | undefined {
  const r = materialize(ctx, op, rep, operand);
  if (r === undefined) return undefined;
  if (r.terms.length === 1 && perTensor(r) && sign(r.terms[0]!.scale[0]!) !== 0) return r;
  ctx.report(notUniform(ctx, op, operand));
  return undefined;
}

/** The narrowest type that holds [min, max]; reports and returns undefined beyond 32 bits. */
export const accumulator = (
  ctx: Context,
  op: Op,
  shape: readonly number[],
  min: number,
  max: number,
): TensorType | undefined => {
  const t = intTypeFor(Math.min(min, -1), max);
  if (t === undefined) ctx.report(accumulatorTooWide(op, min, max));
  return t && tensor(shape, t);
};

/** One accumulator read as scale·value + offset. */
export const linear = (
  op: Op,
  value: Value,
  scale: PerChannel,
  offset: PerChannel,
  axis: number,
  shape = value.type.shape,
): Linear => ({
  kind: "linear",
  shape,
  terms: [{ value, scale: collapse(scale) }],
  offset: collapse(offset),
  axis,
  ...(op.loc ? { loc: op.loc } : {}),
});

/** Windows slide along one or two spatial dimensions; reports and returns false for more. */
export function flat(ctx: Context, op: Op, x: Value): boolean {
  const spatial = x.type.shape.length - 2;
  if (spatial === 1 || spatial === 2) return true;
  ctx.report(manySpatialAxes(op, spatial));
  return false;
}

/** NCHW… → N…C, inserting H = 1 for one spatial dimension. */
export function toNhwc(ctx: Context, v: Value): Value {
  const rank = v.type.shape.length;
  const perm = [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
  const t = ctx.emit("layout.transpose", [v], { perm });
  if (rank === 4) return t;
  const [n, w, c] = t.type.shape as [number, number, number];
  return ctx.emit("layout.reshape", [t], { shape: [n, 1, w, c] });
}

export function fromNhwc(ctx: Context, v: Value, spatialRank: number): Value {
  const [n, h, w, c] = v.type.shape as [number, number, number, number];
  if (spatialRank === 2) return ctx.emit("layout.transpose", [v], { perm: [0, 3, 1, 2] });
  const r = ctx.emit("layout.reshape", [v], { shape: [n, h * w, c] });
  return ctx.emit("layout.transpose", [r], { perm: [0, 2, 1] });
}

/** [begin…, end…] → [top, left, bottom, right]; a 1-D list gets H = 0. */
export const pads4 = (p: readonly number[]): [number, number, number, number] =>
  p.length === 4 ? [p[0]!, p[1]!, p[2]!, p[3]!] : [0, p[0]!, 0, p[1]!];
export const pair = (p: readonly number[], one: number): [number, number] =>
  p.length === 2 ? [p[0]!, p[1]!] : [one, p[0]!];

/** acc = conv(t, w); real = S_x·S_w[o]·acc + B_x·S_w[o]·Σw[o] for x = S_x·t + B_x (B_x = −S_x·z on padded taps). */
export function liftConv(ctx: Context, op: Op): Rep {
  const [xv, wv] = op.operands as [Value, Value];
  const shape = op.results[0]!.type.shape;
  const w = ctx.rep(wv);
  const given = single(ctx, op, ctx.rep(xv), xv);
  if (w.kind === "poison" || given === undefined || !flat(ctx, op, xv)) return poison(shape);
  const inBlocks = w.kind === "constant" && w.grid === undefined ? w.blocks : undefined;
  const parts = inBlocks && convParts(w as Constant, inBlocks, attr<number>(op, "groups") === 1);
  const grid = parts ? undefined : weightGrid(ctx, op, w, wv, 0);
  const pads = attr<readonly number[]>(op, "pads");
  const padded = pads.some((p) => p !== 0);
  const x = padded ? centred(ctx, op, given, true) : given;
  const z = zeroPoint(x);
  const range = intervalOf(x.terms[0]!.value);
  if (padded && (z === undefined || z < range.min || z > range.max)) {
    ctx.report(paddingOffGrid(op, xv.name));
    return poison(shape);
  }
  const pad = padded ? z! : 0;
  if (parts === undefined) return (grid && convOf(ctx, op, x, grid, wv.type.shape, pad)) ?? poison(shape);
  let sum: Linear | undefined;
  for (const part of parts) {
    const channels = { starts: [part.from], ends: [part.to], steps: [1], axes: [1] };
    const whole = part.to - part.from === wv.type.shape[1];
    const values = x.terms.map((t) =>
      whole ? t : { ...t, value: ctx.emit("layout.slice", [t.value], channels) },
    );
    const y = convOf(ctx, op, { ...x, terms: values }, part, part.shape, pad);
    if (y === undefined) return poison(shape);
    const both: Rep = sum === undefined ? y : liftAdd(ctx, op, sum, y);
    if (both.kind !== "linear") return both;
    sum = both;
  }
  return sum ?? poison(shape);
}

/** Convolution by integers with one scale per output channel. */
function convOf(
  ctx: Context,
  op: Op,
  x: Linear,
  grid: { readonly q: Elements; readonly scale: PerChannel },
  weightShape: readonly number[],
  pad: number,
): Linear | undefined {
  const shape = op.results[0]!.type.shape;
  const term = x.terms[0]!.value;
  const packed = weightsOhwi(grid.q, weightShape);
  const [o, kh, kw, i] = packed.shape;
  const k = kh * kw * i;
  const spatialRank = shape.length - 2;
  const nhwcShape =
    spatialRank === 2 ? [shape[0]!, shape[2]!, shape[3]!, shape[1]!] : [shape[0]!, 1, shape[2]!, shape[1]!];
  const rows = rowSums(packed.data, o, k);
  const sums = productSums(rows, intervalOf(term));
  const type = accumulator(ctx, op, nhwcShape, sums.min, sums.max);
  if (type === undefined) return undefined;
  const acc = ctx.emit(
    "qc.conv",
    [toNhwc(ctx, term), integerConst(ctx, packed.data, packed.shape, op.operands[1]!.name)],
    {
      strides: pair(attr(op, "strides"), 1),
      pads: pads4(attr(op, "pads")),
      dilations: pair(attr(op, "dilations"), 1),
      groups: attr(op, "groups"),
      pad_value: pad,
    },
    { type, hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  const [sx, bx] = [x.terms[0]!.scale[0]!, x.offset[0]!];
  const scale = grid.scale.map((s) => mul(sx, s));
  const offset = Array.from({ length: o }, (_, c) =>
    mul(mul(bx, at(grid.scale, c)), rational(BigInt(rows.sum[c]!))),
  );
  return linear(op, fromNhwc(ctx, acc, spatialRank), scale, offset, shape.length - 1, shape);
}

/** Integers minus zero point and scales along `axis` of a constant weight; reports float weights. */
export function weightGrid(
  ctx: Context,
  op: Op,
  w: Rep,
  wv: Value,
  axis: number,
): { q: Elements; scale: PerChannel } | undefined {
  if (w.kind !== "constant") {
    ctx.report(computedWeights(ctx, op, wv));
    return undefined;
  }
  const { grid } = w;
  if (grid === undefined || (grid.scale.length > 1 && grid.axis !== axis)) {
    ctx.report(noWeightQuantizer(ctx, op, wv, grid !== undefined));
    return undefined;
  }
  return grid;
}

/** Mean or sum over axes: integer sum, exact factor. */
export function liftReduce(ctx: Context, op: Op, mean: boolean): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const x = materialize(ctx, op, ctx.rep(xv), xv);
  if (x === undefined) return poison(shape);
  const rank = x.shape.length;
  const axes = attr<readonly number[]>(op, "axes").map((a) => (a < 0 ? a + rank : a));
  const keepdims = attr<boolean>(op, "keepdims");
  const count = axes.reduce((n, a) => n * x.shape[a]!, 1);
  const channel = rank - x.axis;
  if (!perTensor(x) && axes.includes(channel)) {
    ctx.report(notUniform(ctx, op, xv));
    return poison(shape);
  }
  const factor = mean ? rational(1n, BigInt(count)) : rational(1n);
  const terms: Linear["terms"][number][] = [];
  for (const t of x.terms) {
    const wide = broadcast(ctx, t.value, x.shape);
    const range = intervalOf(wide);
    const type = accumulator(ctx, op, shape, range.min * count, range.max * count);
    if (type === undefined) return poison(shape);
    const sum = ctx.emit(
      "qc.reduce_sum",
      [wide],
      { axes, keepdims },
      { type, hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) },
    );
    terms.push({ value: sum, scale: t.scale.map((s) => mul(s, factor)) });
  }
  const dropped = keepdims ? 0 : axes.filter((a) => a > channel).length;
  return {
    kind: "linear",
    shape,
    terms,
    offset: x.offset.map((b) => (mean ? b : mul(b, rational(BigInt(count))))),
    axis: perTensor(x) ? 1 : x.axis - dropped,
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

export function broadcast(ctx: Context, v: Value, shape: readonly number[]): Value {
  const same = v.type.shape.length === shape.length && v.type.shape.every((d, i) => d === shape[i]);
  return same ? v : ctx.emit("layout.expand", [v], { shape });
}

/** Average over windows: padded taps read the zero point; where the divisor varies, each sum is weighted by lcm / count. */
export function liftAveragePool(ctx: Context, op: Op): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const given = single(ctx, op, ctx.rep(xv), xv);
  if (given === undefined || !flat(ctx, op, xv)) return poison(shape);
  const x = attr<readonly number[]>(op, "pads").some((p) => p > 0) ? centred(ctx, op, given, true) : given;
  const spatialRank = xv.type.shape.length - 2;
  const kernel = pair(attr(op, "kernel"), 1);
  const strides = pair(attr(op, "strides"), 1);
  const [top, left, bottom, right] = pads4(attr(op, "pads"));
  const nhwc = toNhwc(ctx, x.terms[0]!.value);
  const [n, h, w, c] = nhwc.type.shape as [number, number, number, number];
  const [oh, ow] = spatialRank === 2 ? [shape[2]!, shape[3]!] : [1, shape[2]!];
  // ceil_mode windows may overrun the declared end padding: extend it so that the floor formula gives oh × ow.
  const extra = (out: number, stride: number, k: number, size: number) =>
    Math.max(0, (out - 1) * stride + k - size);
  const pads = [
    top,
    left,
    bottom + extra(oh, strides[0], kernel[0], h + top + bottom),
    right + extra(ow, strides[1], kernel[1], w + left + right),
  ];
  const include = attr<boolean>(op, "count_include_pad");
  const z = zeroPoint(x);
  const range = intervalOf(x.terms[0]!.value);
  const padded = pads.some((p) => p > 0);
  if (padded && (z === undefined || z < range.min || z > range.max)) {
    ctx.report(paddingOffGrid(op, xv.name));
    return poison(shape);
  }
  const taps = kernel[0] * kernel[1];
  const counts = windowCounts(include, [h, w], [oh, ow], kernel, strides, [top, left, bottom, right]);
  const sumType = accumulator(ctx, op, [n, oh, ow, c], range.min * taps, range.max * taps);
  if (sumType === undefined) return poison(shape);
  const loc = op.loc ? { loc: op.loc } : {};
  const sum = ctx.emit(
    "qc.sum_pool",
    [nhwc],
    { kernel, strides, pads, pad_value: padded ? z! : 0 },
    { type: sumType, hint: op.results[0]!.name, ...loc },
  );
  const s = x.terms[0]!.scale[0]!;
  const distinct = new Set(counts);
  if (distinct.size === 1) {
    const count = rational(BigInt(counts[0]!));
    // Σ over taps of (S·t + B) with B = −S·z on padded taps: S·Σt + taps·B.
    const offset = mul(x.offset[0]!, rational(BigInt(taps)));
    return linear(op, fromNhwc(ctx, sum, spatialRank), [div(s, count)], [div(offset, count)], 1, shape);
  }
  // Beyond 2^32 the accumulator is too wide whatever the exact multiple is.
  const lcm = [...distinct].reduce((a, b) => (a > 2 ** 32 ? a : (a * b) / gcd(a, b)), 1);
  const factors = integerConst(
    ctx,
    Int32Array.from(counts, (k) => lcm / k),
    [1, oh, ow, 1],
    "weights",
  );
  const zero = taps * z!;
  const bound =
    Math.max(Math.abs(range.min * taps - zero), Math.abs(range.max * taps - zero)) *
    Math.max(...counts.map((k) => lcm / k));
  const type = accumulator(ctx, op, [n, oh, ow, c], -bound, bound);
  if (type === undefined) return poison(shape);
  const weighted = ctx.emit("qc.mul", [sum, factors], { a_zero: zero, b_zero: 0 }, { type, ...loc });
  return linear(op, fromNhwc(ctx, weighted, spatialRank), [div(s, rational(BigInt(lcm)))], [ZERO], 1, shape);
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Divisor of each output position: taps inside the (padded, if `include`) input; overrun by ceil_mode never counts. */
function windowCounts(
  include: boolean,
  [h, w]: readonly [number, number],
  [oh, ow]: readonly [number, number],
  [kh, kw]: readonly [number, number],
  [sh, sw]: readonly [number, number],
  [top, left, bottom, right]: readonly [number, number, number, number],
): number[] {
  const span = (start: number, k: number, lo: number, hi: number) =>
    Math.min(start + k, hi) - Math.max(start, lo);
  const counts: number[] = [];
  for (let y = 0; y < oh; y++)
    for (let x = 0; x < ow; x++) {
      const rows = include ? span(y * sh - top, kh, -top, h + bottom) : span(y * sh - top, kh, 0, h);
      const cols = include ? span(x * sw - left, kw, -left, w + right) : span(x * sw - left, kw, 0, w);
      counts.push(rows * cols);
    }
  return counts;
}

/** Max pooling commutes with increasing affine maps and clamps: it runs on the integers. */
export function liftMaxPool(ctx: Context, op: Op): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const rep = ctx.rep(xv);
  if (rep.kind === "poison") return rep;
  const x = rep.kind === "linear" ? rep : materialize(ctx, op, rep, xv);
  if (x === undefined || !flat(ctx, op, xv)) return poison(shape);
  const spatial = !perTensor(x) && x.axis < x.shape.length - 1;
  if (x.terms.length !== 1 || spatial || x.terms[0]!.scale.some((s) => sign(s) <= 0)) {
    ctx.report(notUniform(ctx, op, xv));
    return poison(shape);
  }
  const spatialRank = xv.type.shape.length - 2;
  const nhwc = toNhwc(ctx, x.terms[0]!.value);
  const [, h, w] = nhwc.type.shape as [number, number, number, number];
  const kernel = pair(attr(op, "kernel"), 1);
  const strides = pair(attr(op, "strides"), 1);
  const dilations = pair(attr(op, "dilations"), 1);
  const [top, left, bottom, right] = pads4(attr(op, "pads"));
  const [oh, ow] = spatialRank === 2 ? [shape[2]!, shape[3]!] : [1, shape[2]!];
  const need = (out: number, s: number, k: number, d: number, size: number) =>
    Math.max(0, (out - 1) * s + (k - 1) * d + 1 - size);
  const pads = [
    top,
    left,
    bottom + need(oh, strides[0], kernel[0], dilations[0], h + top + bottom),
    right + need(ow, strides[1], kernel[1], dilations[1], w + left + right),
  ];
  const pooled = ctx.emit(
    "qc.max_pool",
    [nhwc],
    { kernel, strides, pads, dilations },
    { hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  return { ...x, shape, terms: [{ value: fromNhwc(ctx, pooled, spatialRank), scale: x.terms[0]!.scale }] };
}

/** Σ terms + Σ offsets; terms over the same integers merge. */
export function liftAdd(ctx: Context, op: Op, a: Linear, b: Linear): Rep {
  const shape = op.results[0]!.type.shape;
  if (!perTensor(a) && !perTensor(b) && a.axis !== b.axis) {
    ctx.report(notUniform(ctx, op, op.operands[0]!));
    return poison(shape);
  }
  const axis = perTensor(a) ? b.axis : a.axis;
  const terms = [...a.terms];
  for (const t of b.terms) {
    const i = terms.findIndex((u) => u.value === t.value);
    if (i < 0) terms.push(t);
    else terms[i] = { value: t.value, scale: collapse(zipAdd(terms[i]!.scale, t.scale)) };
  }
  return {
    kind: "linear",
    shape,
    terms,
    offset: collapse(zipAdd(a.offset, b.offset)),
    axis,
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

const zipAdd = (a: PerChannel, b: PerChannel): PerChannel =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, c) => add(at(a, c), at(b, c)));

/** (S_a·t_a + B_a)·(S_b·t_b + B_b) with integer zero points: one product accumulator. */
export function liftProduct(ctx: Context, op: Op, left: Linear, right: Linear): Rep {
  const shape = op.results[0]!.type.shape;
  const [a, b] = [centred(ctx, op, left), centred(ctx, op, right)];
  const [za, zb] = [zeroPoint(a), zeroPoint(b)];
  if (za === undefined || zb === undefined) {
    ctx.report(notUniform(ctx, op, op.operands[za === undefined ? 0 : 1]!));
    return poison(shape);
  }
  const [ta, tb] = [a.terms[0]!, b.terms[0]!];
  const corners = [intervalOf(ta.value), intervalOf(tb.value)] as const;
  const products = [corners[0].min - za, corners[0].max - za].flatMap((x) =>
    [corners[1].min - zb, corners[1].max - zb].map((y) => x * y),
  );
  const type = accumulator(ctx, op, shape, Math.min(...products), Math.max(...products));
  if (type === undefined) return poison(shape);
  const product = ctx.emit(
    "qc.mul",
    [ta.value, tb.value],
    { a_zero: za, b_zero: zb },
    { type, hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  return linear(op, product, [mul(ta.scale[0]!, tb.scale[0]!)], [ZERO], 1, shape);
}
