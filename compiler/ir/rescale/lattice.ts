import { add, ceil, floor, fromNumber, mul, type Rational, rational, sign, sub } from "../rational.ts";
import { type StepRule, stepInclusive, stepOffset } from "./boundary.ts";
import type { Window } from "./window.ts";

/** Inclusive range of an integer of any width. */
export interface Span {
  readonly min: number | bigint;
  readonly max: number | bigint;
}

/**
 * A sufficient condition for operands too wide to enumerate.
 *
 * Let D be the least common denominator of all Sᵢ, the offset and 2: the distance of w(a) = Σ aᵢ·Sᵢ + offset from a rounding
 * boundary is a multiple of 1/D. With τ the boundary's distance below the integers, R(w) is ⌊w + τ⌋ when boundaries round
 * up, and stays so under any error in [0, 1/D); with boundaries rounding down the error may be in [−1/D, 0); when no
 * boundary is reachable, in [−1/D, 1/D). The error of (Σ aᵢ·mᵢ + c) / 2ⁿ is affine in a, hence extreme at corners of the box.
 */
export interface Lattice {
  readonly scales: readonly Rational[];
  readonly ranges: readonly Span[];
  /** offset + τ + shift. */
  readonly base: Rational;
  /** Allowed error of the quotient: [low, high). */
  readonly low: Rational;
  readonly high: Rational;
  readonly ties: boolean;
}

/** Null when no single constant can serve: boundaries of both kinds may be reachable. */
export function buildLattice(
  scales: readonly Rational[],
  offset: Rational,
  rule: StepRule,
  shift: number,
  lo: number,
  hi: number,
  ranges: readonly Span[],
): Lattice | null {
  const [wMin, wMax] = boxExtremes(scales, ranges);
  const jFirst = Math.min(hi - shift, Math.max(lo - shift, Number(floor(add(wMin, offset)))) + 1);
  const jLast = Math.max(jFirst, Math.min(hi - shift, Number(floor(add(wMax, offset))) + 1));
  const denominator = [offset, ...scales].reduce((d, r) => lcm(d, r.den), 2n);
  const boundary = stepOffset(rule, jFirst);
  const ties = boundaryReachable(scales, offset, BigInt(boundary), denominator);
  for (const j of [Math.min(jFirst + 1, jLast), jLast]) {
    if (stepOffset(rule, j) !== boundary) return null;
    if (ties && stepInclusive(rule, j) !== stepInclusive(rule, jFirst)) return null;
  }
  const unit = rational(1n, denominator);
  const inclusive = stepInclusive(rule, jFirst);
  return {
    scales,
    ranges,
    base: add(offset, rational(2 * shift - boundary, 2)),
    low: ties && inclusive ? rational(0) : rational(-1n, denominator),
    high: ties && !inclusive ? rational(0) : unit,
    ties,
  };
}

/** The constants that keep the error of m / 2ⁿ inside the allowed interval, or null. */
export function latticeWindow(p: Lattice, m: readonly (number | bigint)[], n: number): Window | null {
  const unit = rational(1n << BigInt(n));
  const errors = p.scales.map((s, i) => sub(integer(m[i] as number | bigint), mul(s, unit)));
  const [errorMin, errorMax] = boxExtremes(errors, p.ranges);
  const lo = ceil(sub(mul(unit, add(p.base, p.low)), errorMin));
  const hi = ceil(sub(mul(unit, add(p.base, p.high)), errorMax)) - 1n;
  return lo <= hi ? { lo, hi } : null;
}

const integer = (m: number | bigint): Rational => (typeof m === "bigint" ? rational(m) : fromNumber(m));

/** Least and greatest Σ aᵢ·sᵢ over the box. */
function boxExtremes(scales: readonly Rational[], ranges: readonly Span[]): [Rational, Rational] {
  let min = rational(0);
  let max = rational(0);
  scales.forEach((s, i) => {
    const range = ranges[i] as Span;
    const ends = [mul(s, rational(range.min)), mul(s, rational(range.max))] as const;
    const order = sign(s) < 0 ? 1 : 0;
    min = add(min, ends[order] as Rational);
    max = add(max, ends[1 - order] as Rational);
  });
  return [min, max];
}

/** Whether 2·w(a) ≡ boundary (mod 2) has an integer solution a anywhere (the box is not consulted). */
function boundaryReachable(
  scales: readonly Rational[],
  offset: Rational,
  boundary: bigint,
  denominator: bigint,
): boolean {
  const steps = scales.map((s) => s.num * (denominator / s.den));
  const target = offset.num * (denominator / offset.den) - (boundary * denominator) / 2n;
  return target % steps.reduce((g, s) => gcd(g, s), denominator) === 0n;
}

function gcd(a: bigint, b: bigint): bigint {
  let x = a < 0n ? -a : a;
  let y = b < 0n ? -b : b;
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

const lcm = (a: bigint, b: bigint): bigint => (a / gcd(a, b)) * b;
