/**
 * Normalization of rows of quantized integers. With t the integers of a row of n and S their scale, the zero point cancels
 * against the mean, and γ·(x − μ) / √(σ² + ε) + β = ±γ·D / √(V + E) + β, where D = n·t − Σt and V = n·Σt² − (Σt)² are exact
 * integers and E = ε·n² / S². See `normalize-arithmetic.ts` for what follows in fixed point.
 */
import { noBoundedForm, noQuantizer, notUniform, zeroPointPerChannel } from "../../ir/messages-quant.ts";
import type { Attr, Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { broadcastShapes } from "../../ir/ops/axes.ts";
import { fixedEpsilon, UNIT_ERROR, unitBits } from "../../ir/ops/normalize-arithmetic.ts";
import {
  add,
  bitLength,
  ceil,
  div,
  fromNumber,
  maxBig,
  minBig,
  mul,
  neg,
  ONE,
  type Rational,
  rational,
  round,
  sign,
  sub,
  toNumber,
  ZERO,
} from "../../ir/rational.ts";
import { I32, intMax, intMin, sameShape, sizeOf, stridesOf, tensor } from "../../ir/types.ts";
import { type Context, poison, replay } from "./context.ts";
import { single } from "./linear.ts";
import { boundsOf } from "./materialize.ts";
import { unmoved } from "./normalize-moves.ts";
import { type Quantizer, quantizeExact, storageOf } from "./quantizer.ts";
import { intElem } from "./ranges.ts";
import { type Constant, clamped, clip, type Normalized, type Rationals, type Rep, zeroPoint } from "./rep.ts";
import { centred } from "./zero.ts";

/** Widest integers whose rows are normalized. */
const BITS = 16;

export function liftNormalize(ctx: Context, op: Op): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const given = single(ctx, op, ctx.rep(xv), xv);
  if (given === undefined) return poison(shape);
  const centre = attr<boolean>(op, "centre");
  const x = centre ? given : centred(ctx, op, given);
  const zero = centre ? 0 : zeroPoint(x);
  if (zero === undefined) {
    ctx.report(notUniform(ctx, op, xv));
    return poison(shape);
  }
  const { value, scale } = x.terms[0]!;
  const elem = intElem(value);
  if (elem.bits > BITS) {
    ctx.report(noQuantizer(ctx, op, xv, boundsOf(x)));
    return poison(shape);
  }
  const axis = attr<number>(op, "axis");
  const n = sizeOf(shape.slice(axis));
  const step = div(rational(BigInt(n)), scale[0]!);
  const e = mul(fromNumber(attr<number>(op, "epsilon")), mul(step, step));
  const epsilon = fixedEpsilon(e.num, e.den);
  const reach = Math.max(Math.abs(intMin(elem) - zero), Math.abs(intMax(elem) - zero));
  const problem =
    n * reach >= 2 ** 30
      ? `rows of ${n} integers of ${elem.bits} bits exceed its 32-bit differences`
      : epsilon === undefined
        ? "epsilon dwarfs every variance that the input can have"
        : undefined;
  if (epsilon === undefined || problem !== undefined) {
    ctx.report(noBoundedForm(op, problem!));
    return poison(shape);
  }
  return {
    kind: "normalized",
    shape,
    input: value,
    axis,
    centre,
    zero,
    epsilon,
    gain: { shape: [], list: [sign(scale[0]!) < 0 ? neg(ONE) : ONE] },
    bias: { shape: [], list: [ZERO] },
    moves: [],
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

function combine(a: Rationals, b: Rationals, f: (x: Rational, y: Rational) => Rational): Rationals {
  if (b.list.length === 1 && b.shape.length <= a.shape.length)
    return { shape: a.shape, list: a.list.map((x) => f(x, b.list[0]!)) };
  const shape = broadcastShapes(a.shape, b.shape)!;
  const [at, bt] = [indices(a.shape, shape), indices(b.shape, shape)];
  return { shape, list: Array.from(at, (i, k) => f(a.list[i]!, b.list[bt[k]!]!)) };
}

/** Row-major index into a tensor of shape `from` for each element of `to`, which it broadcasts to. */
function indices(from: readonly number[], to: readonly number[]): Int32Array {
  const strides = stridesOf(from);
  const outer = stridesOf(to);
  const lead = to.length - from.length;
  return Int32Array.from({ length: sizeOf(to) }, (_, i) =>
    from.reduce(
      (s, d, a) => s + (d === 1 ? 0 : (Math.floor(i / outer[a + lead]!) % to[a + lead]!) * strides[a]!),
      0,
    ),
  );
}

const rationalsOf = (c: Constant): Rationals => ({
  shape: c.shape,
  list: Array.from({ length: sizeOf(c.shape) }, (_, i) => c.at(i)),
});

/** Products with constants, sums with them and clamps, in this order; undefined where `op` is something else. */
export function liftNormalized(op: Op, reps: readonly Rep[]): Normalized | undefined {
  const shape = op.results[0]!.type.shape;
  const at = reps.findIndex((r) => r.kind === "normalized");
  const r = reps[at];
  if (r?.kind !== "normalized" || !sameShape(shape, r.shape)) return undefined;
  switch (op.name) {
    case "float.relu":
      return clip(r, ZERO, undefined);
    case "float.clip": {
      const bound = (x: number) => (Number.isFinite(x) ? fromNumber(x) : undefined);
      return clip(r, bound(attr(op, "lo")), bound(attr(op, "hi")));
    }
    case "float.neg":
      return affine(r, { shape: [], list: [neg(ONE)] }, undefined);
  }
  const other = reps[1 - at];
  if (reps.length !== 2 || other?.kind !== "constant" || sizeOf(other.shape) > sizeOf(shape))
    return undefined;
  const c = rationalsOf(other);
  const opposite = (): Rationals => ({ ...c, list: c.list.map(neg) });
  switch (op.name) {
    case "float.mul":
      return affine(r, c, undefined);
    case "float.div":
      if (at === 1 || c.list.some((x) => sign(x) === 0)) return undefined;
      return affine(r, { ...c, list: c.list.map((x) => div(ONE, x)) }, undefined);
    case "float.add":
      return affine(r, undefined, c);
    case "float.sub":
      return at === 0
        ? affine(r, undefined, opposite())
        : (affine(r, { shape: [], list: [neg(ONE)] }, c) ?? undefined);
    default:
      return undefined;
  }
}

/** r·factor + summand. Nothing may follow a clamp. */
function affine(
  r: Normalized,
  factor: Rationals | undefined,
  summand: Rationals | undefined,
): Normalized | undefined {
  if (clamped(r)) return undefined;
  const [f, b] = [factor && unmoved(factor, r), summand && unmoved(summand, r)];
  if ((factor && !f) || (summand && !b)) return undefined;
  const gain = f ? combine(r.gain, f, mul) : r.gain;
  const bias = f ? combine(r.bias, f, mul) : r.bias;
  return { ...r, gain, bias: b ? combine(bias, b, add) : bias };
}

/** What is added before the floor so that ⌊·⌋ is the rounding, except at ties. */
const beforeFloor: { readonly [rule: string]: Rational } = {
  half_even: rational(1n, 2n),
  half_up: rational(1n, 2n),
  half_down: rational(1n, 2n),
  floor: ZERO,
  ceil: ONE,
};

const LEAST = -(2n ** 31n);
const GREATEST = 2n ** 31n - 1n;
const within = (x: bigint, lo: bigint, hi: bigint): bigint => minBig(maxBig(x, lo), hi);
const abs = (x: Rational): Rational => (sign(x) < 0 ? neg(x) : x);
const largest = (list: readonly Rational[]): bigint => list.reduce((m, x) => maxBig(m, ceil(abs(x))), 0n);

interface Fixed {
  readonly factor: Int32Array;
  readonly offset: Int32Array;
  readonly shift: number;
  readonly error: number;
}

/**
 * Factors and offsets of the second multiplication, for y = a·D/√(V + E) + b in output steps. Where D is 0, y is the exact
 * rounding of b. Undefined where the bound is not below half a step.
 */
function fixedPoint(
  a: readonly Rational[],
  b: readonly Rational[],
  n: number,
  rounding: Quantizer["rounding"],
  exact: (b: Rational) => bigint,
): Fixed | undefined {
  const bits = unitBits(n);
  // |factor| ≤ 2^31 − 1 with factor = a·2^(32 + shift − bits), and |offset| ≤ 2^30.
  const shift = Math.min(28, bits - 1 - bitLength(largest(a)), 29 - bitLength(largest(b) + 2n));
  if (shift < 0) return undefined;
  const scale = rational(1n << BigInt(32 + shift - bits));
  const one = 1n << BigInt(shift);
  const size = Math.max(a.length, b.length);
  const factor = new Int32Array(size);
  const offset = new Int32Array(size);
  let error = 0;
  const up = beforeFloor[rounding]!;
  for (let i = 0; i < size; i++) {
    const f = within(round(mul(a[a.length === 1 ? 0 : i]!, scale), "half_even"), LEAST + 1n, GREATEST);
    const target = b[b.length === 1 ? 0 : i]!;
    // The floors of both multiplications are half a step low on average.
    const low = add(rational(1n, 2n), rational(f, 1n << 33n));
    const c = round(add(mul(add(target, up), rational(one)), low), "half_even");
    const k = exact(target);
    const o = within(c, k * one, (k + 1n) * one - 1n);
    factor[i] = Number(f);
    offset[i] = Number(o);
    // In units of 2^-shift: u, the rounding of the factor (|u| ≤ 2^29), the second floor, the offset.
    const moved = abs(sub(rational(o), add(mul(add(target, up), rational(one)), low)));
    error = Math.max(error, (Math.abs(Number(f)) * UNIT_ERROR) / 2 ** 32 + 1 / 16 + 1 / 2 + toNumber(moved));
  }
  error /= Number(one);
  return error < 0.5 ? { factor, offset, shift, error } : undefined;
}

export function quantizeNormalized(
  ctx: Context,
  op: Op,
  q: Quantizer,
  r: Normalized,
  result: Value,
  done: (v: Value) => Rep,
): Rep {
  const { scheme } = q.type;
  const zero = scheme.kind === "tensor" ? scheme.zeroPoint : undefined;
  if (zero === undefined || !Number.isInteger(zero) || scheme.kind !== "tensor") {
    ctx.report(zeroPointPerChannel(op));
    return poison(r.shape);
  }
  const scale = fromNumber(scheme.scale);
  const z = BigInt(zero);
  const { shape } = r.input.type;
  const n = sizeOf(shape.slice(r.axis));
  const divided = (x: Rationals): Rationals => ({ ...x, list: x.list.map((v) => div(v, scale)) });
  const [a, b] = [divided(r.gain), divided(r.bias)];
  const joint = broadcastShapes(a.shape, b.shape)!;
  const spread = (x: Rationals): readonly Rational[] =>
    sameShape(x.shape, joint) ? x.list : Array.from(indices(x.shape, joint), (i) => x.list[i]!);
  // A tie on its way to the even neighbour depends on where the zero point is added.
  const exact = (v: Rational): bigint =>
    q.order === "round_then_shift" ? round(v, q.rounding) : round(add(v, rational(z)), q.rounding) - z;
  const fixed =
    beforeFloor[q.rounding] === undefined
      ? undefined
      : fixedPoint(spread(a), spread(b), n, q.rounding, exact);
  if (fixed === undefined) {
    ctx.report(
      noBoundedForm(
        op,
        beforeFloor[q.rounding] === undefined
          ? `its output is rounded ${q.rounding === "up" ? "away from" : "toward"} zero`
          : "the scale of its output is too fine for 32-bit products",
      ),
    );
    return poison(r.shape);
  }
  const limit = (x: Rational | undefined, fallback: number): number =>
    x === undefined ? fallback : quantizeExact(x, scale, rational(z), q);
  const dense = (data: Int32Array): Dense => ({ kind: "dense", elem: I32, shape: joint, data });
  const loc = op.loc ? { loc: op.loc } : {};
  const value = ctx.emit(
    "qc.normalize",
    [r.input],
    {
      axis: r.axis,
      centre: r.centre,
      zero: r.zero,
      epsilon: r.epsilon.epsilon,
      epsilon_bits: r.epsilon.bits,
      factor: dense(fixed.factor) satisfies Attr,
      offset: dense(fixed.offset) satisfies Attr,
      shift: fixed.shift,
      zero_point: zero,
      lo: limit(r.lo, q.type.lo),
      hi: limit(r.hi, q.type.hi),
      error: fixed.error,
    },
    { type: tensor(shape, storageOf(q.type)), hint: result.name, ...loc },
  );
  return done(replay(ctx, r.moves, value, result.name));
}
