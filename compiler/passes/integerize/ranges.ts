/** Interval facts used while integers are being introduced; `passes/ranges.ts` refines them per channel afterwards. */
import type { Value } from "../../ir/module.ts";
import { type IntType, intMax, intMin } from "../../ir/types.ts";

export interface Interval {
  readonly min: number;
  readonly max: number;
}

export const intElem = (v: Value): IntType => {
  if (v.type.elem.kind !== "int") throw new Error(`${v.name} is not an integer tensor`);
  return v.type.elem;
};

export const intervalOf = (v: Value): Interval => ({ min: intMin(intElem(v)), max: intMax(intElem(v)) });

/** Interval of Σ_k x_k·w_k for x_k in `x`, one per row of `weights` (rows × k). */
export function productSums(weights: ArrayLike<number>, rows: number, k: number, x: Interval): Interval {
  let min = 0;
  let max = 0;
  for (let r = 0; r < rows; r++) {
    let lo = 0;
    let hi = 0;
    for (let i = 0; i < k; i++) {
      const w = weights[r * k + i]!;
      lo += w * (w > 0 ? x.min : x.max);
      hi += w * (w > 0 ? x.max : x.min);
    }
    if (lo < min || r === 0) min = lo;
    if (hi > max || r === 0) max = hi;
  }
  return { min, max };
}
