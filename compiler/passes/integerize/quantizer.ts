/** What a quantizer computes of one real number. */
import { add, div, type Rational, rational, round } from "../../ir/rational.ts";
import type { Rounding } from "../../ir/rescale/types.ts";
import { type IntType, intTypeFor, type QuantType } from "../../ir/types.ts";

export interface Quantizer {
  readonly type: QuantType;
  readonly rounding: Rounding;
  readonly order: "round_then_shift" | "shift_then_round";
}

/** Integer type of a quantizer's result: as narrow as its range. */
export const storageOf = (q: QuantType): IntType => intTypeFor(q.lo, q.hi) ?? q.storage;

/** q(x) of one real number, exactly. */
export function quantizeExact(x: Rational, scale: Rational, zero: Rational, q: Quantizer): number {
  const v = div(x, scale);
  const r =
    q.order === "round_then_shift"
      ? add(rational(round(v, q.rounding)), zero)
      : rational(round(add(v, zero), q.rounding));
  const n = Number(r.num / r.den);
  return Math.min(q.type.hi, Math.max(q.type.lo, n));
}
