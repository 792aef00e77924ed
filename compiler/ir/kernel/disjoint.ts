/** When two accesses cannot touch a common byte: small linear equations over bounded integers. */
import type { Access } from "./accesses.ts";

/** coefficient · x, lo ≤ x ≤ hi; coefficient > 0. */
interface Term {
  readonly coefficient: number;
  readonly lo: number;
  readonly hi: number;
}

/** coefficient · x, 1 ≤ |x| ≤ most. */
interface Apart {
  readonly coefficient: number;
  readonly most: number;
}

interface Problem {
  readonly terms: readonly Term[];
  readonly apart: Apart | undefined;
  /** The sum of all terms must lie in lo … hi. */
  readonly lo: number;
  readonly hi: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

const least = (terms: readonly Term[]): number => terms.reduce((s, t) => s + t.coefficient * t.lo, 0);
const most = (terms: readonly Term[]): number => terms.reduce((s, t) => s + t.coefficient * t.hi, 0);

/**
 * Whether the problem provably has no solution. Splits at a divisor G of some coefficients: the other terms decide which
 * multiple of G the divisible ones make up; where few are left, each leaves two smaller problems. Sound, not complete.
 */
function infeasible({ terms, apart, lo, hi }: Problem, depth = 6): boolean {
  const [min, max] = [least(terms), most(terms)];
  if (apart === undefined) {
    if (lo > max || hi < min) return true;
  } else {
    // coefficient · x has to lie in lo − max … hi − min.
    const { coefficient: c, most: n } = apart;
    const positive = hi - min >= c && lo - max <= c * n;
    const negative = lo - max <= -c && hi - min >= -c * n;
    if (!positive && !negative) return true;
  }
  if (depth === 0) return false;
  const coefficients = [
    ...new Set([...terms.map((t) => t.coefficient), ...(apart ? [apart.coefficient] : [])]),
  ].sort((a, b) => b - a);
  const divisors = new Set(coefficients);
  coefficients.reduce((g, c) => {
    const next = gcd(g, c);
    divisors.add(next);
    return next;
  }, 0);
  for (const g of divisors) {
    if (g <= 1) continue;
    const coarse = terms.filter((t) => t.coefficient % g === 0);
    const fine = terms.filter((t) => t.coefficient % g !== 0);
    const far = apart !== undefined && apart.coefficient % g === 0;
    // Without fine terms the right side alone decides.
    if (coarse.length === 0 && !far) continue;
    const swing = apart !== undefined && !far ? apart.coefficient * apart.most : 0;
    const from = Math.ceil((lo - most(fine) - swing) / g);
    const to = Math.floor((hi - least(fine) + swing) / g);
    if (to < from) return true;
    if (to - from > 2 || (fine.length === 0 && swing === 0)) continue;
    let all = true;
    for (let k = from; all && k <= to; k++) {
      const big: Problem = { terms: coarse, apart: far ? apart : undefined, lo: k * g, hi: k * g };
      const small: Problem = {
        terms: fine,
        apart: far ? undefined : apart,
        lo: lo - k * g,
        hi: hi - k * g,
      };
      all = infeasible(small, depth - 1) || infeasible(big, depth - 1);
    }
    if (all) return true;
  }
  return false;
}

const normal = (coefficient: number, lo: number, hi: number): Term =>
  coefficient > 0 ? { coefficient, lo, hi } : { coefficient: -coefficient, lo: -hi, hi: -lo };

/**
 * Whether `a` and `b` provably touch no common byte, whatever turns of their loops they belong to; with `parallel`, the variable
 * of a loop around both: as long as they belong to different turns of it.
 */
export function disjoint(
  a: Access,
  b: Access,
  turns: ReadonlyMap<string, number>,
  parallel?: string,
): boolean {
  if (a.buf !== b.buf) return true;
  if (a.at === undefined || b.at === undefined) return false;
  const sums = new Map<number, { lo: number; hi: number }>();
  const add = (coefficient: number, n: number): void => {
    const t = normal(coefficient, 0, n - 1);
    const sum = sums.get(t.coefficient) ?? { lo: 0, hi: 0 };
    sums.set(t.coefficient, { lo: sum.lo + t.lo, hi: sum.hi + t.hi });
  };
  let apart: Apart | undefined;
  const shared = parallel === undefined ? undefined : a.at.terms.get(parallel);
  const same = shared !== undefined && shared === b.at.terms.get(parallel!);
  for (const [terms, sign] of [
    [a.at.terms, 1],
    [b.at.terms, -1],
  ] as const)
    for (const [name, c] of terms) {
      if (same && name === parallel) continue;
      const n = turns.get(name);
      if (n === undefined) return false;
      add(sign * c, n);
    }
  if (same) {
    const n = turns.get(parallel!);
    if (n === undefined) return false;
    if (n === 1) return true;
    apart = { coefficient: Math.abs(shared), most: n - 1 };
  }
  const distance = a.at.constant - b.at.constant;
  const terms = [...sums]
    .filter(([, s]) => s.lo !== 0 || s.hi !== 0)
    .map(([coefficient, s]) => ({ coefficient, ...s }));
  return infeasible({ terms, apart, lo: -(a.bytes - 1) - distance, hi: b.bytes - 1 - distance });
}

/** First and last byte an access can touch; `undefined` where it is not known. */
export function hull(
  a: Access,
  turns: ReadonlyMap<string, number>,
): { readonly from: number; readonly to: number } | undefined {
  if (a.at === undefined) return undefined;
  let [from, to] = [a.at.constant, a.at.constant + a.bytes];
  for (const [name, c] of a.at.terms) {
    const n = turns.get(name);
    if (n === undefined) return undefined;
    if (c > 0) to += c * (n - 1);
    else from += c * (n - 1);
  }
  return { from, to };
}
