/** Rounding rules on float64, for the float dialects; integers round by `round` of rational.ts. */
import type { Rounding } from "../rational.ts";
import { roundHalfEven } from "./real-functions.ts";

export const ROUNDINGS: readonly Rounding[] = [
  "half_even",
  "half_up",
  "half_down",
  "ceil",
  "floor",
  "up",
  "down",
];

export const ORDERS: readonly string[] = ["round_then_shift", "shift_then_round"];

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
