/** Inverse circular functions, and hyperbolic ones with their inverses, on four lanes. Polynomials of Cephes. */
import type { Expr } from "../../../ir/kernel/ir.ts";
import type { Block } from "../block.ts";
import { exp, expm1, type Fn, log, log1p } from "./functions.ts";
import { and, f, fabs, fadd, fdiv, feq, fle, flt, fmul, fsqrt, fsub, i, or, select } from "./lanes.ts";

/** Coefficients from the highest power down. */
const poly = (b: Block, x: Expr, [first, ...rest]: readonly number[]): Expr =>
  rest.reduce<Expr>((y, c) => b.bind(fadd(fmul(y, x), f(c)), "p"), f(first!));

const SIGN = -(2 ** 31);
/** The magnitude with the sign of x. */
const signed = (x: Expr, y: Expr): Expr => or(y, and(x, i(SIGN)));
const magnitude = (b: Block, x: Expr): Expr => b.bind(fabs(x), "a");

export const atan: Fn = (b, x) => {
  const a = magnitude(b, x);
  const [far, near] = [
    b.bind(flt(f(2.414213562373095), a), "far"),
    b.bind(flt(f(0.414213562373095), a), "near"),
  ];
  const inner = select(near, fdiv(fsub(a, f(1)), fadd(a, f(1))), a);
  const t = b.bind(select(far, fdiv(f(-1), a), inner), "t");
  const start = select(far, f(Math.PI / 2), and(near, f(Math.PI / 4)));
  const z = b.bind(fmul(t, t), "z");
  const p = poly(b, z, [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]);
  return b.bind(signed(x, fadd(start, fadd(fmul(fmul(p, z), t), t))), "y");
};

/** asin of s, 0 ≤ s ≤ 1/2, z = s². */
function smallAsin(b: Block, s: Expr, z: Expr): Expr {
  const p = poly(b, z, [4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1]);
  return b.bind(fadd(fmul(fmul(p, z), s), s), "p");
}

/** The small arc for |x|: of |x| itself, or of √((1 − |x|)/2), which is half of what is missing to π/2. */
function arc(b: Block, x: Expr): { readonly large: Expr; readonly p: Expr } {
  const a = magnitude(b, x);
  const large = b.bind(flt(f(0.5), a), "large");
  const half = b.bind(fmul(fsub(f(1), a), f(0.5)), "half");
  const z = b.bind(select(large, half, fmul(a, a)), "z");
  const s = b.bind(select(large, fsqrt(half), a), "s");
  return { large, p: smallAsin(b, s, z) };
}

export const asin: Fn = (b, x) => {
  const { large, p } = arc(b, x);
  return b.bind(signed(x, select(large, fsub(f(Math.PI / 2), fadd(p, p)), p)), "y");
};

export const acos: Fn = (b, x) => {
  const { large, p } = arc(b, x);
  const twice = fadd(p, p);
  const outer = select(flt(x, f(0)), fsub(f(Math.PI), twice), twice);
  return b.bind(select(large, outer, fsub(f(Math.PI / 2), signed(x, p))), "y");
};

export const sinh: Fn = (b, x) => {
  const a = magnitude(b, x);
  const e = b.bind(expm1(b, a), "e");
  const small = fmul(fadd(e, fdiv(e, fadd(e, f(1)))), f(0.5));
  // e^a overflows before half of it does.
  const root = exp(b, b.bind(fmul(a, f(0.5)), "h"));
  const large = fmul(fmul(root, f(0.5)), root);
  return b.bind(signed(x, select(flt(f(20), a), large, small)), "y");
};

/** Beyond this, what is under the root is its square. */
const FAR = 1e4;

export const asinh: Fn = (b, x) => {
  const a = magnitude(b, x);
  const square = b.bind(fmul(a, a), "q");
  const y = fadd(a, fdiv(square, fadd(f(1), fsqrt(fadd(square, f(1))))));
  const far = fadd(log(b, a), f(Math.LN2));
  return b.bind(signed(x, select(flt(f(FAR), a), far, log1p(b, b.bind(y, "y")))), "y");
};

export const acosh: Fn = (b, x) => {
  const t = b.bind(fsub(x, f(1)), "t");
  const y = b.bind(fadd(t, fsqrt(fadd(fadd(t, t), fmul(t, t)))), "y");
  const near = log1p(b, y);
  const value = select(flt(f(FAR), x), fadd(log(b, x), f(Math.LN2)), near);
  return b.bind(select(fle(f(1), x), value, f(Number.NaN)), "y");
};

export const atanh: Fn = (b, x) => {
  const a = magnitude(b, x);
  const y = b.bind(fdiv(fadd(a, a), fsub(f(1), a)), "y");
  const inside = fmul(log1p(b, y), f(0.5));
  const value = select(feq(a, f(1)), f(Number.POSITIVE_INFINITY), inside);
  return b.bind(signed(x, select(fle(a, f(1)), value, f(Number.NaN))), "y");
};
