/**
 * Integer softmax of scale·t along an axis. With d = max(t) − t and E ≈ 2^30·exp(−S·d), Σ the sum of E and P = 1 / s_out,
 *
 *     y = clamp(⌊(⌊E·m / 2^32⌋ + c) / 2^k⌋ + z, lo, hi),   m = ⌊P·2^(k + 32) / Σ⌋ < 2^31.
 *
 * One table holds E within 1/2; two tables, of the high and the low bits of d, within 2. Because Σ ≥ 2^30, n elements are then
 * within (n + 1)·e·P / 2^30 of the real softmax, and the two floors take less than 5/4 of 2^-k more.
 */
import { noBoundedForm, noQuantizer, zeroPointPerChannel } from "../../ir/messages-quant.ts";
import type { Attr, Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { EXP_BITS } from "../../ir/ops/integer-softmax.ts";
import {
  bitLength,
  ceil,
  div,
  fromNumber,
  mul,
  ONE,
  type Rational,
  rational,
  round,
  sign,
  toNumber,
} from "../../ir/rational.ts";
import { I32, tensor } from "../../ir/types.ts";
import { type Context, poison, replay } from "./context.ts";
import { tooWide } from "./elementwise.ts";
import { boundsOf, materialize } from "./materialize.ts";
import { type Quantizer, storageOf } from "./quantizer.ts";
import { intElem, intervalOf } from "./ranges.ts";
import { perTensor, type Rep, type Softmax } from "./rep.ts";

/** Widest integers that are looked up. */
const BITS = 16;
/** Differences that one table covers; more are split after so many bits. */
const ONE_TABLE = 1024;
const FINE_BITS = 8;

/** round(2^EXP_BITS · exp(−s·d)) for d = 0 … count − 1, s > 0 rational; exact to the last bit by 96-bit fixed point. */
export function expTable(s: Rational, count: number): Int32Array {
  const FRACTION = 96n;
  const one = 1n << FRACTION;
  const table = new Int32Array(count);
  for (let d = 0; d < count; d++) {
    const x = (s.num * BigInt(d) * one) / s.den;
    // exp(−x) = exp(−x / 2^k)^(2^k), with the Taylor series where x / 2^k < 1/256.
    let k = 0n;
    while (x >> k > one >> 8n) k++;
    if (k > 20n) continue; // exp(−x) < 2^-4096: zero in EXP_BITS bits
    const small = x >> k;
    let term = one;
    let sum = one;
    for (let i = 1n; term !== 0n; i++) {
      term = -((term * small) / one / i);
      sum += term;
    }
    for (let i = 0n; i < k; i++) sum = (sum * sum) >> FRACTION;
    const shift = FRACTION - BigInt(EXP_BITS);
    table[d] = Number((sum + (1n << (shift - 1n))) >> shift);
  }
  return table;
}

/** Shift-invariant: only the scale matters. */
export function liftSoftmax(ctx: Context, op: Op): Rep {
  const [xv] = op.operands as [Value];
  const shape = op.results[0]!.type.shape;
  const x = materialize(ctx, op, ctx.rep(xv), xv);
  if (x === undefined) return poison(shape);
  const term = x.terms[0]!;
  if (x.terms.length !== 1 || !perTensor(x) || sign(term.scale[0]!) <= 0) {
    ctx.report(noQuantizer(ctx, op, xv, boundsOf(x)));
    return poison(shape);
  }
  const { bits } = intElem(term.value);
  if (bits > BITS) {
    ctx.report(tooWide(ctx, op, xv, bits, x));
    return poison(shape);
  }
  const axis = attr<number>(op, "axis");
  return {
    kind: "softmax",
    shape,
    input: term.value,
    scale: term.scale[0]!,
    axis: axis < 0 ? axis + shape.length : axis,
    moves: [],
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

/** E for every difference of the input: one table, or two; and how far an entry may be off. */
function exponentials(s: Rational, count: number) {
  if (count <= ONE_TABLE)
    return { exp: expTable(s, count), coarse: Int32Array.of(2 ** EXP_BITS), bits: 31, off: 1 / 2 };
  const step = mul(s, rational(1n << BigInt(FINE_BITS)));
  const coarse = expTable(step, Math.ceil(count / 2 ** FINE_BITS));
  // Two factors at most 1, each within 1/2, and the floor.
  return { exp: expTable(s, 2 ** FINE_BITS), coarse, bits: FINE_BITS, off: 2 };
}

/** ⌊y + c⌋ is the rounding of y ≥ 0; floors come with the slack of the arithmetic, which is at most 5/4 low. */
function roundingOffset(rounding: Quantizer["rounding"], shift: number): number {
  if (rounding === "floor" || rounding === "down") return 2;
  if (rounding === "ceil" || rounding === "up") return 2 ** shift - 1;
  return 2 ** shift / 2;
}

export function quantizeSoftmax(
  ctx: Context,
  op: Op,
  q: Quantizer,
  s: Softmax,
  result: Value,
  done: (v: Value) => Rep,
): Rep {
  const { scheme } = q.type;
  if (scheme.kind !== "tensor" || !Number.isInteger(scheme.zeroPoint)) {
    ctx.report(zeroPointPerChannel(op));
    return poison(s.shape);
  }
  const { min, max } = intervalOf(s.input);
  const { exp, coarse, bits, off } = exponentials(s.scale, max - min + 1);
  const steps = div(ONE, fromNumber(scheme.scale));
  const { shape } = s.input.type;
  const n = shape[s.axis]!;
  const shift = Math.min(28, 29 - bitLength(ceil(steps)));
  const error = ((n + 1) * off * toNumber(steps)) / 2 ** EXP_BITS + 2 / 2 ** shift;
  if (shift < 1 || error >= 0.5) {
    ctx.report(noBoundedForm(op, "the scale of its output is too fine for 32-bit products"));
    return poison(s.shape);
  }
  const table = (data: Int32Array): Dense => ({ kind: "dense", elem: I32, shape: [data.length], data });
  const value = ctx.emit(
    "qc.softmax",
    [s.input],
    {
      axis: s.axis,
      exp: table(exp) satisfies Attr,
      coarse: table(coarse) satisfies Attr,
      bits,
      numerator: round(mul(steps, rational(1n << BigInt(32 + shift))), "half_even"),
      offset: roundingOffset(q.rounding, shift),
      shift,
      zero_point: scheme.zeroPoint,
      lo: q.type.lo,
      hi: q.type.hi,
      error,
    },
    { type: tensor(shape, storageOf(q.type)), hint: result.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  return done(replay(ctx, s.moves, value, result.name));
}
