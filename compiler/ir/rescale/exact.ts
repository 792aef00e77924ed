import { add, type Rational, rational, round } from "../rational.ts";
import type { RequantSpec } from "./types.ts";

/** The specification, evaluated literally: slow and obvious. `a` has one integer per scale. */
export function evaluateExact(spec: RequantSpec, a: readonly (number | bigint)[]): number {
  // Sums of unreduced fractions: reducing them would be most of the work.
  let { num, den } = spec.offset;
  spec.scales.forEach((s, i) => {
    const term = s.num * BigInt(a[i]!);
    num = s.den === den ? num + term : num * s.den + term * den;
    den = s.den === den ? den : den * s.den;
  });
  const w: Rational = { num, den };
  const y =
    spec.order === "round_then_shift"
      ? add(rational(round(w, spec.rounding)), spec.zeroPoint).num
      : round(add(w, spec.zeroPoint), spec.rounding);
  return y < BigInt(spec.lo) ? spec.lo : y > BigInt(spec.hi) ? spec.hi : Number(y);
}
