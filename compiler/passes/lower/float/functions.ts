/**
 * Real functions on four float32 lanes, by range reduction and polynomials (after Cephes): a few units in the last place, unless
 * said otherwise. NaN gives NaN.
 */
import type { Expr } from "../../../ir/kernel/ir.ts";
import type { Block } from "../block.ts";
import {
  and,
  f,
  fabs,
  fadd,
  fdiv,
  feq,
  ffloor,
  fle,
  flt,
  fmax,
  fmin,
  fmul,
  fne,
  fnearest,
  fneg,
  fsqrt,
  fsub,
  i,
  iadd,
  isub,
  or,
  sar,
  select,
  shl,
  toFloat,
  toInt,
} from "./lanes.ts";

export type Fn = (b: Block, x: Expr) => Expr;

/** Horner's rule, highest power first. */
function poly(b: Block, x: Expr, coefficients: readonly number[]): Expr {
  const [first, ...rest] = coefficients;
  return rest.reduce<Expr>((sum, c) => b.bind(fadd(fmul(sum, x), f(c)), "p"), f(first!));
}

/** 2ⁿ of integer lanes −126 … 127. */
const power = (n: Expr): Expr => shl(iadd(n, i(127)), 23);

export const exp: Fn = (b, given) => {
  const x = b.bind(fmin(fmax(given, f(-105)), f(89)), "x");
  const n = b.bind(fnearest(fmul(x, f(Math.LOG2E))), "n");
  // ln 2 in two parts, the first of few bits: n times it is exact.
  const r = b.bind(fsub(fsub(x, fmul(n, f(0.693359375))), fmul(n, f(-2.1219444e-4))), "r");
  const p = poly(
    b,
    r,
    [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
  );
  const y = fadd(fadd(fmul(fmul(p, r), r), r), f(1));
  // In two steps: 2ⁿ itself may be out of range.
  const k = b.bind(toInt(n), "k");
  const half = b.bind(sar(k, 1), "h");
  return b.bind(fmul(fmul(y, power(half)), power(isub(k, half))), "e");
};

export const log: Fn = (b, given) => {
  // Subnormals are brought into the normal range.
  const small = b.bind(flt(given, f(2 ** -126)), "s");
  const x = b.bind(select(small, fmul(given, f(2 ** 23)), given), "x");
  const above = b.bind(isub(x, i(0x3f3504f3)), "k");
  const k = b.bind(sar(above, 23), "k");
  const m = b.bind(fsub(isub(x, shl(k, 23)), f(1)), "m");
  const e = b.bind(toFloat(isub(k, and(small, i(23)))), "e");
  const z = b.bind(fmul(m, m), "z");
  const p = poly(
    b,
    m,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  const low = fsub(fadd(fmul(fmul(p, m), z), fmul(e, f(-2.1219444e-4))), fmul(z, f(0.5)));
  const y = fadd(fadd(low, m), fmul(e, f(0.693359375)));
  const { NaN: nan, POSITIVE_INFINITY: inf, NEGATIVE_INFINITY: minus } = Number;
  const finite = select(flt(given, f(inf)), y, given);
  return b.bind(select(fle(given, f(0)), select(feq(given, f(0)), f(minus), f(nan)), finite), "l");
};

/** eˣ − 1. */
export const expm1: Fn = (b, x) => {
  const p = poly(b, x, [1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1]);
  return b.bind(select(flt(fabs(x), f(0.4)), fmul(p, x), fsub(exp(b, x), f(1))), "e");
};

/** ln(1 + y) for 0 ≤ y: the rounding of 1 + y is undone. */
export const log1p: Fn = (b, y) => {
  const u = b.bind(fadd(y, f(1)), "u");
  const d = b.bind(fsub(u, f(1)), "d");
  const l = log(b, u);
  return b.bind(select(feq(d, f(0)), y, fmul(l, fdiv(y, d))), "l");
};

export const sigmoid: Fn = (b, x) => {
  // Of −|x|, so that nothing overflows.
  const e = exp(b, b.bind(fneg(fabs(x)), "a"));
  const d = b.bind(fadd(e, f(1)), "d");
  return b.bind(select(flt(x, f(0)), fdiv(e, d), fdiv(f(1), d)), "y");
};

export const softplus: Fn = (b, x) =>
  b.bind(fadd(fmax(x, f(0)), log1p(b, exp(b, b.bind(fneg(fabs(x)), "a")))), "y");

export const tanh: Fn = (b, x) => {
  const z = b.bind(fmul(x, x), "z");
  const p = poly(
    b,
    z,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  );
  const small = b.bind(fadd(fmul(fmul(p, z), x), x), "t");
  const a = b.bind(fabs(x), "a");
  const e = exp(b, b.bind(fadd(a, a), "a"));
  const large = b.bind(fsub(f(1), fdiv(f(2), fadd(e, f(1)))), "t");
  return b.bind(or(select(flt(a, f(0.625)), small, large), sign(x)), "y");
};

/** The sign bit. */
const sign = (x: Expr): Expr => and(x, i(-(2 ** 31)));

/** erfc a for a ≥ 1. */
const erfcTail: Fn = (b, a) => {
  const q = b.bind(fdiv(f(1), a), "q");
  const y = b.bind(fmul(q, q), "y");
  const near = poly(
    b,
    y,
    [
      2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1,
      6.210004621745983e-1, -4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1,
      5.638259427386472e-1,
    ],
  );
  const far = poly(
    b,
    y,
    [
      -1.047766399936249e1, 1.297719955372516e1, -7.495518717768503, 2.921019019210786, -1.0152652792027,
      4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1,
    ],
  );
  const e = exp(b, b.bind(fneg(fmul(a, a)), "a"));
  return b.bind(fmul(fmul(e, q), select(flt(a, f(2)), near, far)), "t");
};

/** erf x for |x| ≤ 1. */
const erfCentre: Fn = (b, x) => {
  const p = poly(
    b,
    b.bind(fmul(x, x), "z"),
    [
      7.853861353153693e-5, -8.010193625184903e-4, 5.188327685732524e-3, -2.685381193529856e-2,
      1.128358514861418e-1, -3.7612625824233e-1, 1.12837916572671,
    ],
  );
  return b.bind(fmul(p, x), "c");
};

export const erf: Fn = (b, x) => {
  const a = b.bind(fabs(x), "a");
  const tail = fsub(f(1), erfcTail(b, b.bind(fmin(fmax(a, f(1)), f(10)), "a")));
  return b.bind(select(flt(a, f(1)), erfCentre(b, x), or(tail, sign(x))), "y");
};

/** 1 − erf x, without cancellation. */
const erfc: Fn = (b, x) => {
  const a = b.bind(fabs(x), "a");
  const tail = erfcTail(b, b.bind(fmin(fmax(a, f(1)), f(10.5)), "a"));
  const outside = select(flt(x, f(0)), fsub(f(2), tail), tail);
  return b.bind(select(flt(a, f(1)), fsub(f(1), erfCentre(b, x)), outside), "y");
};

export const geluErf: Fn = (b, x) => {
  const c = erfc(b, b.bind(fmul(x, f(-Math.SQRT1_2)), "t"));
  return b.bind(fmul(fmul(x, f(0.5)), c), "y");
};

/** ½·x·(1 + tanh t) = x·sigmoid 2t. */
export const geluTanh: Fn = (b, x) => {
  const t = fmul(x, fadd(fmul(fmul(x, x), f(0.044715)), f(1)));
  return b.bind(fmul(x, sigmoid(b, b.bind(fmul(t, f(2 * Math.sqrt(2 / Math.PI))), "t"))), "y");
};

/** x·tanh(ln(1 + eˣ)) = x·n / (n + 2), n = eˣ·(eˣ + 2). */
export const mish: Fn = (b, x) => {
  const e = exp(b, b.bind(fmin(x, f(20)), "m"));
  const n = b.bind(fmul(e, fadd(e, f(2))), "n");
  return b.bind(fmul(x, fdiv(n, fadd(n, f(2)))), "y");
};

/** sin(x + quarter·π/2). Good to |x| < 10⁴; the absolute error grows with |x| beyond. */
const circular =
  (quarter: number): Fn =>
  (b, x) => {
    const n = b.bind(fnearest(fmul(x, f(2 / Math.PI))), "n");
    const parts = [1.5703125, 4.837512969970703e-4, 7.549789948768648e-8];
    const r = parts.reduce<Expr>((y, c) => b.bind(fsub(y, fmul(n, f(c))), "r"), x);
    const z = b.bind(fmul(r, r), "z");
    const s = fadd(fmul(fmul(poly(b, z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), z), r), r);
    const c = fadd(
      fsub(
        fmul(fmul(poly(b, z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]), z), z),
        fmul(z, f(0.5)),
      ),
      f(1),
    );
    const q = b.bind(iadd(toInt(n), i(quarter)), "q");
    const odd = b.bind(shl(q, 31), "o");
    const y = b.bind(select(sar(odd, 31), c, s), "y");
    const flip = and(shl(q, 30), i(-(2 ** 31)));
    // Infinity gives NaN: 0·x is NaN there.
    return b.bind(fadd(select(flip, fneg(y), y), fmul(x, f(0))), "y");
  };
export const sin: Fn = circular(0);
export const cos: Fn = circular(1);

/** aᵇ. By e^(b·ln |a|), whose relative error is about |b·ln a|·2⁻²³. */
export function pow(b: Block, x: Expr, y: Expr): Expr {
  const a = b.bind(fabs(x), "a");
  const magnitude = exp(b, b.bind(fmul(y, log(b, a)), "l"));
  const whole = b.bind(feq(ffloor(y), y), "w");
  const h = b.bind(fmul(y, f(0.5)), "h");
  const odd = and(whole, fne(ffloor(h), h));
  const negative = select(whole, or(magnitude, and(odd, i(-(2 ** 31)))), f(Number.NaN));
  const signed = select(flt(x, f(0)), negative, magnitude);
  const one = or(feq(y, f(0)), feq(x, f(1)));
  return b.bind(select(one, f(1), signed), "y");
}

/** Powers with constant exponents that need no logarithm. */
export function constantPower(b: Block, x: Expr, exponent: number): Expr | undefined {
  if (exponent === 0.5) return fsqrt(x);
  if (exponent === -0.5) return fdiv(f(1), fsqrt(x));
  if (!Number.isInteger(exponent) || Math.abs(exponent) > 8) return undefined;
  let y: Expr = f(1);
  for (let k = 0; k < Math.abs(exponent); k++) y = k === 0 ? x : b.bind(fmul(y, x), "y");
  return exponent < 0 ? fdiv(f(1), y) : y;
}
