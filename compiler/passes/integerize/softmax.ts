/**
 * Integer softmax. With d = max(t) − t and E[d] = round(2^23·exp(−S·d)),
 *
 *     y_i = clamp(⌊(2·E[d_i]·p + Σ·q) / (2·Σ·q)⌋ + z, lo, hi),   Σ = Σ_j E[d_j],   p/q = 1 / s_out.
 *
 * Each E is within 2^-24 of its real value and Σ ≥ 1 (in units of 2^23), so before rounding y is within
 * (N + 1)·2^-24·p/q of the real softmax for N elements: at most 1 LSB after rounding while that is below 1/2.
 */
import type { Rational } from "../../ir/rational.ts";

export const EXP_BITS = 23;

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
