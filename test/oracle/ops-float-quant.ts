/**
 * FloatQuant, from its published formula: with xs = x / s and is = 2^max(⌊log2 |xs|⌋ − m, 1 − bias − m),
 *
 *     y = clip(is·R(xs / is), ± min(max_val, (2 − 2^−m)·2^(2^e − 1 − bias)))·s
 *
 * The integers reported are y / s in multiples of 2^(1 − bias − m), the least float. Constants and graph inputs: xs is a float32.
 */
import { broadcastIndex } from "./gather.ts";
import type { Counted } from "./ops-threshold.ts";
import { divide, fromNumber, multiply, type Rational, rational, toNumber } from "./rational.ts";
import { exactAt, type RealTensor, reals, sizeOf, type Tensor, toReal, ULP } from "./tensor.ts";

type Round = (x: Rational) => bigint;

const power = (k: number): Rational => (k >= 0 ? rational(2n ** BigInt(k)) : rational(1n, 2n ** BigInt(-k)));
const atLeast = (a: Rational, b: Rational): boolean => a.num * b.den >= b.num * a.den;

/** ⌊log2 x⌋ for x > 0. */
function exponentOf(x: Rational): number {
  let k = x.num.toString(2).length - x.den.toString(2).length + 1;
  while (!atLeast(x, power(k))) k--;
  return k;
}

const one = (t: Tensor | undefined): number => {
  if (t?.kind !== "real" || t.literal?.length !== 1) throw new Error("a parameter is not one constant");
  return t.literal[0]!;
};

export function floatQuant(inputs: readonly (Tensor | undefined)[], round: Round): Counted {
  const [x, scale] = inputs as [Tensor, Tensor];
  if (scale.kind !== "real" || scale.literal === undefined) throw new Error("the scale is not constant");
  const [e, m, bias, given] = inputs.slice(2).map(one) as [number, number, number, number];
  const { shape } = x;
  const scales = scale.literal;
  const index = scales.length === 1 ? undefined : broadcastIndex(scale.shape, shape);
  const scaleAt = (i: number): number => scales[index === undefined ? 0 : index[i]!]!;
  const least = power(1 - bias - m);
  const most = Math.min(given, (2 - 2 ** -m) * 2 ** (2 ** e - 1 - bias)) / toNumber(least);
  const step = (xs: Rational): number => {
    if (xs.num === 0n) return 0;
    const magnitude = xs.num < 0n ? { num: -xs.num, den: xs.den } : xs;
    const is = power(Math.max(exponentOf(magnitude) - m, 1 - bias - m));
    const q = multiply(is, rational(round(divide(xs, is))));
    return Math.min(Math.max(toNumber(divide(q, least)), -most), most) + 0;
  };
  const size = sizeOf(shape);
  const integers = new Float64Array(size);
  const undecided = new Map<number, readonly [number, number]>();
  const real = x.kind === "approx" ? undefined : toReal(x);
  for (let i = 0; i < size; i++) {
    const s = scaleAt(i);
    if (x.kind === "approx") {
      const bound = x.error[i]! * (1 + ULP);
      const ends = [x.value[i]! - bound, x.value[i]! + bound].map((v) =>
        step(divide(fromNumber(v), fromNumber(s))),
      );
      integers[i] = ends[0]!;
      if (ends[0] !== ends[1]) undecided.set(i, [ends[0]!, ends[1]!]);
    } else if (real!.literal instanceof Float32Array) {
      const v = Math.fround(real!.literal[i]! / s);
      integers[i] = Number.isNaN(v) ? -most : Number.isFinite(v) ? step(fromNumber(v)) : v > 0 ? most : -most;
    } else integers[i] = step(divide(exactAt(real!.terms(), i), fromNumber(s)));
  }
  const units = Array.from(scales, (s) => multiply(fromNumber(s), least));
  const read = (q: Float64Array): RealTensor => reals(shape, [{ num: q, units, index }]);
  return { shape, integers, undecided, read };
}
