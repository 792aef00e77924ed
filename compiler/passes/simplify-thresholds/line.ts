/** A line between two sets of points, exactly. */
import { bitLength, ceil, floor, type Rational, rational } from "../../ir/rational.ts";

/** Integers, |x| ≤ 2^32 and |k| < 2^16: products of their differences are exact in doubles. */
export interface Point {
  readonly x: number;
  readonly k: number;
}

/** p / q, q > 0. */
interface Fraction {
  readonly p: number;
  readonly q: number;
}

const less = (a: Fraction, b: Fraction): boolean => a.p * b.q < b.p * a.q;

/**
 * The points that decide: vertices of the upper (`turn` 1) or lower (−1) convex hull, as k − S·x is greatest or least there.
 * Points in order of x, of equal x in order of k.
 */
function hull(points: readonly Point[], turn: 1 | -1): readonly Point[] {
  const out: Point[] = [];
  for (const p of points) {
    if (out.at(-1)?.x === p.x) {
      if (turn < 0) continue;
      out.pop();
    }
    for (; out.length >= 2; out.pop()) {
      const [a, b] = [out.at(-2)!, out.at(-1)!];
      if (turn * ((b.k - a.k) * (p.x - b.x) - (p.k - b.k) * (b.x - a.x)) > 0) break;
    }
    out.push(p);
  }
  return out;
}

/**
 * S ≥ 0 and B with S·x + B ≥ k at every point of `upper`, S·x + B < k at every point of `lower`; undefined if there are none.
 * Both in order of x, of equal x in order of k.
 * For a pair the difference of the two reads S·(x − x') > k − k', where x' is the one that lies below: S is in an open
 * interval, and any S inside leaves room for B. Of these the one with the shortest binary fraction.
 */
export function fitLine(
  upper: readonly Point[],
  lower: readonly Point[],
): { readonly scale: Rational; readonly offset: Rational } | undefined {
  const [above, below] = [hull(upper, 1), hull(lower, -1)];
  let lo: Fraction = { p: 0, q: 1 };
  let hi: Fraction | undefined;
  for (const a of above)
    for (const b of below) {
      const d = a.x - b.x;
      const k = a.k - b.k;
      if (d === 0) {
        if (k >= 0) return undefined;
      } else if (d > 0) {
        const f = { p: k, q: d };
        if (less(lo, f)) lo = f;
      } else {
        const f = { p: -k, q: -d };
        if (hi === undefined || less(f, hi)) hi = f;
      }
    }
  if (hi !== undefined && !less(lo, hi)) return undefined;
  const scale = between(lo, hi);
  const at = ({ x, k }: Point): bigint => BigInt(k) * scale.den - scale.num * BigInt(x);
  const least = above.map(at).reduce((m, v) => (v > m ? v : m), at(above[0] ?? lowest(below[0]!)));
  const most = below.map(at).reduce((m, v) => (v < m ? v : m), at(below[0] ?? highest(above[0]!)));
  // least ≤ B·den < most
  return { scale, offset: rational(least + most, 2n * scale.den) };
}

/** Points that any line through the others may take. */
const lowest = ({ x, k }: Point): Point => ({ x, k: k - 1 });
const highest = ({ x, k }: Point): Point => ({ x, k: k + 1 });

/** m / 2ⁿ between the two, n as small as possible, n ≥ 0. */
function between(lo: Fraction, hi: Fraction | undefined): Rational {
  if (hi === undefined) return rational(BigInt(Math.floor(lo.p / lo.q)) + 1n);
  const width = {
    num: BigInt(hi.p) * BigInt(lo.q) - BigInt(lo.p) * BigInt(hi.q),
    den: BigInt(lo.q) * BigInt(hi.q),
  };
  const most = bitLength(width.den / width.num) + 2;
  for (let n = 0; n <= most; n++) {
    const unit = 1n << BigInt(n);
    const m = floor({ num: BigInt(lo.p) * unit, den: BigInt(lo.q) }) + 1n;
    if (m < ceil({ num: BigInt(hi.p) * unit, den: BigInt(hi.q) })) return rational(m, unit);
  }
  throw new Error("an open interval holds a binary fraction");
}
