/**
 * Interpolation between neighbours. Weights are integers over a common denominator D, so that sums of weights and integers are
 * exact: real = S/D·Σ w·t + B, as weights add up to D. Along the axes of an image by whole factors it is a depthwise transposed
 * convolution behind edges repeated; otherwise a product by a constant matrix per axis.
 */
import { noIntegerForm, notUniform } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { type Resampled, resampledAxes } from "../../ir/ops/float-interpolate.ts";
import { mul, rational, toNumber } from "../../ir/rational.ts";
import { F32, tensor } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { accumulator, fromNhwc, toNhwc } from "./linear.ts";
import { materialize } from "./materialize.ts";
import { intervalOf } from "./ranges.ts";
import type { Linear, Rep } from "./rep.ts";
import { columnSums, integerConst, productSums, rowSums } from "./weights.ts";

/** One axis: weights as integers over `denominator`, those of zero left out. */
interface Axis {
  readonly axis: number;
  readonly from: number;
  readonly denominator: bigint;
  /** Per position of the result. */
  readonly positions: readonly (readonly Tap[])[];
}

interface Tap {
  /** May lie beyond the ends, which then count. */
  readonly index: number;
  readonly weight: number;
}

/** Most phases of a transposed convolution: each becomes a kernel. */
const MOST_PHASES = 16;
/** Greatest weight of a transposed convolution: products with bytes are sums of few dot products of bytes. */
const SMALL = 254;

/** Greatest weight, and greatest common denominator. */
const MOST = 2 ** 15 - 1;

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));

/** Weights as integers; undefined where those would not fit 16 bits. */
function integerAxis(from: number, { axis, taps, indices, weights }: Resampled): Axis | undefined {
  const denominator = weights.reduce((d, w) => (d / gcd(d, w.den)) * w.den, 1n);
  const whole = weights.map((w) => Number((w.num * denominator) / w.den));
  if (denominator > MOST || whole.some((w) => Math.abs(w) > MOST)) return undefined;
  const positions: Tap[][] = [];
  for (let i = 0; i < indices.length; i += taps) {
    const own = whole.slice(i, i + taps).map((weight, k) => ({ index: indices[i + k]!, weight }));
    positions.push(own.filter((t) => t.weight !== 0));
  }
  return { axis, from, denominator, positions };
}

/** A transposed convolution along one axis: the kernel, how many elements repeat at either end, and what is cut off there. */
interface Spread {
  readonly stride: number;
  readonly kernel: readonly number[];
  readonly edges: readonly [number, number];
  readonly cut: readonly [number, number];
  readonly more: number;
}

const STILL: Spread = { stride: 1, kernel: [1], edges: [0, 0], cut: [0, 0], more: 0 };

/** Whole factor f, and taps that every f-th position has at the same distances. */
function spreadOf({ from, positions }: Axis): Spread | undefined {
  const stride = positions.length / from;
  if (!Number.isInteger(stride)) return undefined;
  const same = positions.every((own, i) => {
    const first = positions[i % stride]!;
    const moved = Math.floor(i / stride);
    return (
      own.length === first.length &&
      own.every((t, k) => t.index === first[k]!.index + moved && t.weight === first[k]!.weight)
    );
  });
  if (!same) return undefined;
  const taps = positions.slice(0, stride).flatMap((own, phase) => own.map((t) => ({ ...t, phase })));
  const before = Math.max(0, ...taps.map((t) => -t.index));
  const behind = Math.max(0, ...taps.map((t) => t.index));
  const cut = Math.max(0, ...taps.map((t) => stride * (t.index + before) - t.phase));
  const places = taps.map((t) => t.phase + cut - stride * (t.index + before));
  const kernel = new Array<number>(Math.max(...places) + 1).fill(0);
  for (const [i, t] of taps.entries()) kernel[places[i]!]! += t.weight;
  const rest = (before + from + behind - 1) * stride + kernel.length - cut - stride * from;
  return {
    stride,
    kernel,
    edges: [before, behind],
    cut: [cut, Math.max(rest, 0)],
    more: Math.max(-rest, 0),
  };
}

/** Both axes of an image at once; undefined where factors are not whole or the sums too wide. */
function byTransposedConv(ctx: Context, op: Op, t: Value, axes: readonly Axis[]): Value | undefined {
  const { shape } = t.type;
  if (shape.length !== 3 && shape.length !== 4) return undefined;
  const spatial = shape.slice(2).map((_, i) => axes.find((a) => a.axis === i + 2));
  if (spatial.filter((a) => a !== undefined).length !== axes.length) return undefined;
  const found = spatial.map((a) => (a === undefined ? STILL : spreadOf(a)));
  const [v, h] = found.length === 1 ? [STILL, found[0]] : found;
  if (v === undefined || h === undefined || v.stride * h.stride > MOST_PHASES) return undefined;
  const plane = v.kernel.flatMap((a) => h.kernel.map((b) => a * b));
  if (plane.some((w) => Math.abs(w) > SMALL)) return undefined;
  const sides = [v, h].slice(2 - found.length);
  const repeated = sides.some((s) => s.edges.some((n) => n > 0))
    ? ctx.emit("layout.pad", [t], {
        before: [0, 0, ...sides.map((s) => s.edges[0])],
        after: [0, 0, ...sides.map((s) => s.edges[1])],
        mode: "edge",
      })
    : t;
  const channels = shape[1]!;
  const data = Int32Array.from({ length: channels * plane.length }, (_, i) => plane[i % plane.length]!);
  const sums = productSums(rowSums(data, channels, plane.length), intervalOf(t));
  const out = op.results[0]!.type.shape;
  const [height, width] = out.length === 4 ? out.slice(2) : [1, out[2]];
  const type = accumulator(ctx, op, [out[0]!, height!, width!, channels], sums.min, sums.max);
  if (type === undefined) return undefined;
  const weights = integerConst(ctx, data, [channels, v.kernel.length, h.kernel.length, 1], "");
  const attrs = {
    strides: [v.stride, h.stride],
    pads: [v.cut[0], h.cut[0], v.cut[1], h.cut[1]],
    dilations: [1, 1],
    groups: channels,
    output_padding: [v.more, h.more],
    zero: 0,
  };
  const acc = ctx.emit("qc.conv_transpose", [toNhwc(ctx, repeated), weights], attrs, {
    type,
    hint: op.results[0]!.name,
    ...(op.loc ? { loc: op.loc } : {}),
  });
  return fromNhwc(ctx, acc, found.length);
}

/** Along one axis, by the matrix of its weights; reports and returns undefined where sums get too wide. */
function byMatrix(ctx: Context, op: Op, t: Value, { axis, from, positions }: Axis): Value | undefined {
  const to = positions.length;
  const q = new Int32Array(from * to);
  for (const [i, own] of positions.entries())
    for (const { index, weight } of own) q[Math.min(Math.max(index, 0), from - 1) * to + i]! += weight;
  const rank = t.type.shape.length;
  const others = t.type.shape.map((_, i) => i).filter((i) => i !== axis);
  const last = axis === rank - 1 ? t : ctx.emit("layout.transpose", [t], { perm: [...others, axis] });
  const sums = productSums(columnSums(q, from, to), intervalOf(t));
  const type = accumulator(ctx, op, [...last.type.shape.slice(0, -1), to], sums.min, sums.max);
  if (type === undefined) return undefined;
  const acc = ctx.emit(
    "qc.matmul",
    [last, integerConst(ctx, q, [from, to], "")],
    { a_zero: 0, b_zero: 0 },
    {
      type,
      hint: op.results[0]!.name,
      ...(op.loc ? { loc: op.loc } : {}),
    },
  );
  if (axis === rank - 1) return acc;
  const back = t.type.shape.map((_, i) => (i === axis ? rank - 1 : others.indexOf(i)));
  return ctx.emit("layout.transpose", [acc], { perm: back });
}

/** Exact weighted sums, of all axes at once where one convolution does it. */
export function liftInterpolate(ctx: Context, op: Op): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const x = materialize(ctx, op, ctx.rep(xv), xv);
  if (x === undefined) return poison(shape);
  const axes: Axis[] = [];
  for (const a of resampledAxes(op.attrs)) {
    const own = integerAxis(x.shape[a.axis]!, a);
    const varies = x.offset.length > 1 || x.terms.some((t) => t.scale.length > 1);
    const uniform = x.terms.length === 1 && !(varies && a.axis === x.shape.length - x.axis);
    if (own === undefined || !uniform) {
      ctx.report(own === undefined ? noIntegerForm(op, false) : notUniform(ctx, op, xv));
      return poison(shape);
    }
    axes.push(own);
  }
  const { value, scale } = x.terms[0]!;
  const sums =
    byTransposedConv({ ...ctx, report: () => {} }, op, value, axes) ??
    axes.reduce<Value | undefined>((v, a) => v && byMatrix(ctx, op, v, a), value);
  if (sums === undefined) return poison(shape);
  const unit = rational(
    1n,
    axes.reduce((d, a) => d * a.denominator, 1n),
  );
  const terms = [{ value: sums, scale: scale.map((s) => mul(s, unit)) }];
  return { ...x, shape, terms, ...(op.loc ? { loc: op.loc } : {}) } satisfies Linear;
}

/** `float.interpolate` on a float32 operand: weighted sums of gathered elements. */
export const gatherNeighbours = (ctx: Context, op: Op, x: Value): Value =>
  resampledAxes(op.attrs).reduce((v, a) => gatherAlong(ctx, op, v, a), x);

function gatherAlong(ctx: Context, op: Op, x: Value, { axis, taps, indices, weights }: Resampled): Value {
  const last = x.type.shape[axis]! - 1;
  const shape = x.type.shape.map((_, a) => (a === axis ? indices.length / taps : 1));
  const options = { hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) };
  const terms: Value[] = [];
  for (let k = 0; k < taps; k++) {
    const own = (_: unknown, i: number): boolean => i % taps === k;
    const data = Float32Array.from(weights.filter(own), toNumber);
    if (data.every((w) => w === 0)) continue;
    const at = indices.filter(own).map((i) => Math.min(Math.max(i, 0), last));
    const value = { kind: "dense", elem: F32, shape, data } as const;
    const factor = ctx.emit("const", [], { value }, { type: tensor(shape, F32) });
    const gathered = ctx.emit("layout.gather", [x], { axis, indices: at });
    terms.push(ctx.emit("float.mul", [gathered, factor], {}, options));
  }
  return terms.reduce((a, b) => ctx.emit("float.add", [a, b], {}, options));
}
