/** Rigorous evaluation of real expressions at one point: exact while the operations are rational, else float64 with an error bound. */
import { attr } from "../../ir/op.ts";
import { opDef } from "../../ir/ops/index.ts";
import {
  add,
  ceil,
  cmp,
  div,
  eq,
  floor,
  fromNumber,
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
import { F64 } from "../../ir/types.ts";
import type { RealExpr } from "./rep.ts";

/** A real number: exact, or known to lie within `error` of `near`. */
export type Real =
  | { readonly kind: "exact"; readonly value: Rational }
  | { readonly kind: "near"; readonly near: number; readonly error: number };

const exact = (value: Rational): Real => ({ kind: "exact", value });
const max = (a: Rational, b: Rational) => (cmp(a, b) >= 0 ? a : b);
const min = (a: Rational, b: Rational) => (cmp(a, b) <= 0 ? a : b);
const num = (attrs: RealExpr & { k: "op" }, name: string): Rational => fromNumber(attr<number>(attrs, name));
const limited = (x: Rational, lo: number, hi: number): Rational => {
  const low = Number.isFinite(lo) ? max(x, fromNumber(lo)) : x;
  return Number.isFinite(hi) ? min(low, fromNumber(hi)) : low;
};
const integerRational = (n: bigint): Rational => ({ num: n, den: 1n });

const zeroAtZero = ([a]: readonly Rational[]): Rational | undefined => (sign(a!) === 0 ? ZERO : undefined);

/** √n of a perfect square. */
function integerRoot(n: bigint): bigint | undefined {
  const near = BigInt(Math.round(Math.sqrt(Number(n))));
  return near * near === n ? near : undefined;
}

/** The float ops where they map rationals to rationals; undefined result: outside the domain, or irrational. */
const rationalOps: {
  readonly [op: string]: (a: readonly Rational[], e: RealExpr & { k: "op" }) => Rational | undefined;
} = {
  "float.add": ([a, b]) => add(a!, b!),
  "float.sub": ([a, b]) => sub(a!, b!),
  "float.mul": ([a, b]) => mul(a!, b!),
  "float.div": ([a, b]) => (sign(b!) === 0 ? undefined : div(a!, b!)),
  "float.reciprocal": ([a]) => (sign(a!) === 0 ? undefined : div(ONE, a!)),
  "float.min": ([a, b]) => min(a!, b!),
  "float.max": ([a, b]) => max(a!, b!),
  "float.neg": ([a]) => neg(a!),
  "float.abs": ([a]) => (sign(a!) < 0 ? neg(a!) : a!),
  "float.relu": ([a]) => max(a!, ZERO),
  "float.floor": ([a]) => integerRational(floor(a!)),
  "float.ceil": ([a]) => integerRational(ceil(a!)),
  "float.round": ([a]) => integerRational(round(a!, "half_even")),
  "float.sign": ([a]) => rational(sign(a!)),
  "float.clip": ([a], e) => limited(a!, attr<number>(e, "lo"), attr<number>(e, "hi")),
  "float.leaky_relu": ([a], e) => (sign(a!) < 0 ? mul(a!, num(e, "alpha")) : a!),
  "float.prelu": ([a, slope]) => (sign(a!) < 0 ? mul(a!, slope!) : a!),
  "float.thresholded_relu": ([a], e) => (cmp(a!, num(e, "alpha")) > 0 ? a! : ZERO),
  "float.hard_sigmoid": ([a], e) => limited(add(mul(a!, num(e, "alpha")), num(e, "beta")), 0, 1),
  // x·max(0, min(1, x/6 + 1/2))
  "float.hard_swish": ([a]) => mul(a!, limited(add(div(a!, rational(6n)), rational(1n, 2n)), 0, 1)),
  "float.pow": ([a, b]) => {
    if (b!.den !== 1n || b!.num < 0n || b!.num > 16n) return undefined;
    let r = ONE;
    for (let i = 0n; i < b!.num; i++) r = mul(r, a!);
    return r;
  },
  "float.softsign": ([a]) => div(a!, add(ONE, max(a!, neg(a!)))),
  // Irrational elsewhere.
  "float.exp": ([a]) => (sign(a!) === 0 ? ONE : undefined),
  "float.log": ([a]) => (eq(a!, ONE) ? ZERO : undefined),
  "float.sigmoid": ([a]) => (sign(a!) === 0 ? rational(1n, 2n) : undefined),
  "float.cos": ([a]) => (sign(a!) === 0 ? ONE : undefined),
  "float.sin": zeroAtZero,
  "float.tanh": zeroAtZero,
  "float.erf": zeroAtZero,
  "float.gelu": zeroAtZero,
  "float.silu": zeroAtZero,
  "float.mish": zeroAtZero,
  "float.elu": ([a]) => (sign(a!) >= 0 ? a : undefined),
  "float.celu": ([a]) => (sign(a!) >= 0 ? a : undefined),
  "float.selu": ([a], e) => (sign(a!) >= 0 ? mul(num(e, "gamma"), a!) : undefined),
  "float.sqrt": ([a]) => {
    const [n, d] = sign(a!) < 0 ? [] : [integerRoot(a!.num), integerRoot(a!.den)];
    return n === undefined || d === undefined ? undefined : rational(n, d);
  },
};

/** Relative error granted to one float64 library function (they are within a few units in the last place, 2^-53). */
export const LIBRARY_ERROR = 2 ** -46;

function floatOp(e: RealExpr & { k: "op" }, args: readonly number[]): number {
  const operands = args.map((x) => ({
    kind: "dense" as const,
    elem: F64,
    shape: [],
    data: Float64Array.of(x),
  }));
  const scalar = { shape: [], elem: F64 };
  return opDef(e.op).evaluate(
    operands,
    e.attrs,
    [scalar],
    operands.map(() => scalar),
  )[0]!.data[0]!;
}

export function evaluateReal(e: RealExpr, x: number): Real {
  if (e.k === "x") return exact(rational(BigInt(x)));
  if (e.k === "const") return exact(e.value);
  const args = e.args.map((a) => evaluateReal(a, x));
  const rule = rationalOps[e.op];
  if (rule !== undefined && args.every((a) => a.kind === "exact")) {
    const r = rule(
      args.map((a) => (a as { value: Rational }).value),
      e,
    );
    if (r !== undefined) return exact(r);
  }
  // Interval by sampling the corners of the argument box: the float ops are smooth or monotone at this scale, and the
  // difference is doubled to cover their curvature.
  const near = args.map((a) => (a.kind === "exact" ? toNumber(a.value) : a.near));
  const radius = args.map((a, i) => (a.kind === "exact" ? Math.abs(near[i]!) * 2 ** -53 : a.error));
  const mid = floatOp(e, near);
  let error = Math.abs(mid) * LIBRARY_ERROR + Number.MIN_VALUE;
  for (let i = 0; i < near.length; i++)
    for (const d of [-1, 1]) {
      const moved = near.map((v, j) => (j === i ? v + d * radius[j]! : v));
      error += 2 * Math.abs(floatOp(e, moved) - mid);
    }
  return { kind: "near", near: mid, error };
}
