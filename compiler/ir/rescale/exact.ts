import { add, fromNumber, mul, type Rational, rational, round } from "../rational.ts";
import type { RequantSpec } from "./types.ts";

const toRational = (a: number | bigint): Rational => (typeof a === "bigint" ? rational(a) : fromNumber(a));

/** The specification, evaluated literally: slow and obvious. `a` has one integer per scale. */
export function evaluateExact(spec: RequantSpec, a: readonly (number | bigint)[]): number {
  let w = spec.offset;
  spec.scales.forEach((s, i) => {
    w = add(w, mul(s, toRational(a[i] as number | bigint)));
  });
  const y =
    spec.order === "round_then_shift"
      ? add(rational(round(w, spec.rounding)), spec.zeroPoint).num
      : round(add(w, spec.zeroPoint), spec.rounding);
  return y < BigInt(spec.lo) ? spec.lo : y > BigInt(spec.hi) ? spec.hi : Number(y);
}
