import type { Points } from "./steps.ts";

/** Inclusive interval of constants c. */
export interface Window {
  readonly lo: bigint;
  readonly hi: bigint;
}

/** Largest absolute values among constraint points, to decide when doubles are exact. */
export interface Magnitudes {
  readonly k: number;
  readonly a: number;
  readonly b: number;
}

export function magnitudes(lists: readonly Points[]): Magnitudes {
  let k = 1;
  let a = 0;
  let b = 0;
  for (const list of lists) {
    for (const x of list.k) k = Math.max(k, Math.abs(x));
    for (const x of list.a) a = Math.max(a, Math.abs(x));
    for (const x of list.b) b = Math.max(b, Math.abs(x));
  }
  return { k, a, b };
}

/**
 * All c that satisfy the constraints of `steps.ts` for (m₁, m₂, n), or null when there are none. A side without
 * constraints is closed 2ⁿ away from the other. Runs in doubles while every product and sum stays below 2^53, else in BigInt.
 */
export function pointsWindow(
  lower: Points,
  upper: Points,
  size: Magnitudes,
  m1: number,
  m2: number,
  n: number,
): Window | null {
  const unit = 2 ** n;
  if (size.k * unit + size.a * Math.abs(m1) + size.b * Math.abs(m2) >= 2 ** 52) {
    return bigWindow(lower, upper, m1, m2, n);
  }
  if (lower.k.length === 0 || upper.k.length === 0) return openWindow(lower, upper, m1, m2, n);
  let lo = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < lower.k.length; i++) {
    const bound = (lower.k[i] as number) * unit - (lower.a[i] as number) * m1 - (lower.b[i] as number) * m2;
    if (bound > lo) lo = bound;
  }
  let hi = Number.POSITIVE_INFINITY;
  for (let i = 0; i < upper.k.length; i++) {
    const bound = (upper.k[i] as number) * unit - (upper.a[i] as number) * m1 - (upper.b[i] as number) * m2;
    if (bound < hi) {
      hi = bound;
      if (hi <= lo) return null;
    }
  }
  return { lo: BigInt(lo), hi: BigInt(hi) - 1n };
}

/** {@link pointsWindow} in BigInt for any magnitudes. */
export function bigWindow(lower: Points, upper: Points, m1: number, m2: number, n: number): Window | null {
  if (lower.k.length === 0 || upper.k.length === 0) return openWindow(lower, upper, m1, m2, n);
  const lo = bound(lower, m1, m2, n, 1n);
  const hi = bound(upper, m1, m2, n, -1n);
  return lo < hi ? { lo, hi: hi - 1n } : null;
}

function openWindow(lower: Points, upper: Points, m1: number, m2: number, n: number): Window {
  const unit = 1n << BigInt(n);
  if (lower.k.length > 0) {
    const lo = bound(lower, m1, m2, n, 1n);
    return { lo, hi: lo + unit - 1n };
  }
  const hi = upper.k.length > 0 ? bound(upper, m1, m2, n, -1n) : unit;
  return { lo: hi - unit, hi: hi - 1n };
}

/** Greatest (direction 1) or least (direction −1) k·2ⁿ − a·m₁ − b·m₂ of a non-empty list. */
function bound(list: Points, m1: number, m2: number, n: number, direction: 1n | -1n): bigint {
  const shift = BigInt(n);
  const p = BigInt(m1);
  const q = BigInt(m2);
  let best: bigint | undefined;
  for (let i = 0; i < list.k.length; i++) {
    let x = (BigInt(list.k[i] as number) << shift) - BigInt(list.a[i] as number) * p;
    if (q !== 0n) x -= BigInt(list.b[i] as number) * q;
    if (best === undefined || (x - best) * direction > 0n) best = x;
  }
  if (best === undefined) throw new RangeError("bound of an empty constraint list");
  return best;
}
