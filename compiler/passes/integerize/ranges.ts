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
