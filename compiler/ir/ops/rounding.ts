/** Rounding rules on float64. */
import { roundHalfEven } from "./real-functions.ts";

/** `up` is away from zero, `down` toward zero, `half_up` and `half_down` break ties away from and toward zero. */
export const ROUNDINGS = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"] as const;
export type Rounding = (typeof ROUNDINGS)[number];

export const ORDERS = ["round_then_shift", "shift_then_round"] as const;

export function roundReal(rule: Rounding, x: number): number {
  const a = Math.abs(x);
  const f = Math.floor(a);
  switch (rule) {
    case "half_even":
      return roundHalfEven(x);
    case "half_up":
      return Math.sign(x) * (a - f >= 0.5 ? f + 1 : f);
    case "half_down":
      return Math.sign(x) * (a - f > 0.5 ? f + 1 : f);
    case "ceil":
      return Math.ceil(x);
    case "floor":
      return Math.floor(x);
    case "up":
      return Math.sign(x) * Math.ceil(a);
    case "down":
      return Math.trunc(x);
  }
}
