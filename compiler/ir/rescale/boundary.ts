import { floorDiv, type Rounding } from "../rational.ts";

/** A rounding rule, or one half of the tie form: nearest with all ties to −∞ (`tie_down`) or to +∞ (`tie_up`). */
export type StepRule = Rounding | "tie_down" | "tie_up";

/**
 * Where a rounding rule R steps: R(w) ≥ j  ⟺  2w > 2j + offset, or 2w = 2j + offset and the boundary is inclusive.
 * This is the offset; {@link stepInclusive} says which side the boundary itself belongs to.
 */
export function stepOffset(rule: StepRule, j: number): -2 | -1 | 0 {
  switch (rule) {
    case "floor":
      return 0;
    case "ceil":
      return -2;
    case "up":
      return j >= 1 ? -2 : 0;
    case "down":
      return j >= 1 ? 0 : -2;
    default:
      return -1;
  }
}

export function stepInclusive(rule: StepRule, j: number): boolean {
  switch (rule) {
    case "half_even":
      return j % 2 === 0;
    case "half_up":
    case "down":
      return j >= 1;
    case "half_down":
    case "up":
      return j <= 0;
    case "tie_up":
    case "floor":
      return true;
    case "tie_down":
    case "ceil":
      return false;
  }
}

/** R(num / den) clamped to [lo, hi]; den > 0. */
export function clampedStep(num: bigint, den: bigint, rule: StepRule, lo: number, hi: number): number {
  const below = floorDiv(num, den);
  if (below >= BigInt(hi)) return hi;
  if (below < BigInt(lo)) return lo;
  const j = Number(below) + 1;
  const distance = 2n * num - BigInt(2 * j + stepOffset(rule, j)) * den;
  const rounded = distance > 0n || (distance === 0n && stepInclusive(rule, j)) ? j : j - 1;
  return rounded < lo ? lo : rounded;
}

/** The two one-sided rules of the tie form and the choice between them; null for rules that are one-sided themselves. */
export function tieRules(
  rule: Rounding,
): { down: StepRule; up: StepRule; select: "odd" | "negative" | "nonnegative" } | null {
  switch (rule) {
    case "half_even":
      return { down: "tie_down", up: "tie_up", select: "odd" };
    case "half_up":
      return { down: "tie_down", up: "tie_up", select: "nonnegative" };
    case "half_down":
      return { down: "tie_down", up: "tie_up", select: "negative" };
    case "up":
      return { down: "floor", up: "ceil", select: "nonnegative" };
    case "down":
      return { down: "floor", up: "ceil", select: "negative" };
    default:
      return null;
  }
}
