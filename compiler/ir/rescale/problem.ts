import { add, floorDiv, type Rational, rational, toNumber } from "../rational.ts";
import type { StepRule } from "./boundary.ts";
import { buildLattice, type Lattice, latticeWindow } from "./lattice.ts";
import { addSteps, type Constraints, emptyConstraints } from "./steps.ts";
import type { IntRange, RequantSpec } from "./types.ts";
import { bigWindow, type Magnitudes, magnitudes, pointsWindow, type Window } from "./window.ts";

/** A multiplier to approximate by m / 2ⁿ. */
export interface Slope {
  readonly exact: Rational;
  readonly approx: number;
}

/** Find m, n, c with ⌊(Σ aᵢ·mᵢ + c) / 2ⁿ⌋ = R(Σ aᵢ·Sᵢ + offset) + shift up to clamping, for one channel and one rule. */
export type Problem = PointsProblem | LatticeProblem;

export interface PointsProblem {
  readonly kind: "points";
  readonly slopes: readonly Slope[];
  readonly ranges: readonly IntRange[];
  readonly constraints: Constraints;
  readonly size: Magnitudes;
  /** The only reachable output, if there is just one. */
  readonly constant: number | null;
}

export interface LatticeProblem {
  readonly kind: "lattice";
  readonly slopes: readonly Slope[];
  readonly ranges: readonly IntRange[];
  readonly lattice: Lattice;
  readonly constant: null;
}

/** Rows and steps up to which two operands are enumerated. */
const MAX_ROWS = 1024;
const MAX_ROW_STEPS = 1 << 22;

const slope = (exact: Rational): Slope => ({ exact, approx: toNumber(exact) });
const rangeSize = (r: IntRange): number => Math.max(0, r.max - r.min + 1);

/** The integer added after rounding; 0 when the zero point is added before it. */
export const shiftAfter = (spec: RequantSpec): number =>
  spec.order === "round_then_shift" ? Number(spec.zeroPoint.num) : 0;

/**
 * `shift` is added to every output and [lo, hi] clamps the sum. Null when no single constant can serve (boundaries of both
 * kinds may be reachable), which only the lattice method reports here.
 */
export function buildProblem(
  spec: RequantSpec,
  ranges: readonly IntRange[],
  rule: StepRule,
  shift: number,
  lo: number,
  hi: number,
): Problem | null {
  const offset = spec.order === "shift_then_round" ? add(spec.offset, spec.zeroPoint) : spec.offset;
  const constraints = enumerate(spec.scales, offset, ranges, rule, shift, lo, hi);
  if (constraints === null) {
    const lattice = buildLattice(spec.scales, offset, rule, shift, lo, hi, ranges);
    if (lattice === null) return null;
    return { kind: "lattice", slopes: spec.scales.map(slope), ranges, lattice, constant: null };
  }
  const { first, last, lower, upper } = constraints;
  const constant = first > last ? lo : first === last ? first : null;
  const slopes = spec.scales.map((s) => slope(spec.scales.length === 1 ? gentle(s, hi - lo + 2) : s));
  return {
    kind: "points",
    slopes,
    ranges,
    constraints,
    size: magnitudes([lower, upper]),
    constant,
  };
}

/**
 * A multiplier beyond the output span jumps over it between neighbouring accumulators, at most one of which lands inside; a
 * multiplier as large as the span does the same.
 */
function gentle(s: Rational, span: number): Rational {
  const limit = BigInt(span);
  if (s.num > limit * s.den) return rational(limit);
  return -s.num > limit * s.den ? rational(-limit) : s;
}

/** Steps of one operand, or of the longer operand in every row of the shorter; null when that is too much, as for more operands. */
function enumerate(
  scales: readonly Rational[],
  offset: Rational,
  ranges: readonly IntRange[],
  rule: StepRule,
  shift: number,
  lo: number,
  hi: number,
): Constraints | null {
  if (scales.length > 2) return null;
  const out = emptyConstraints();
  const [s0, s1] = scales as readonly [Rational, Rational | undefined];
  const [r0, r1] = ranges as readonly [IntRange, IntRange | undefined];
  if (s1 === undefined || r1 === undefined) {
    const w = { alpha: s0.num * offset.den, beta: offset.num * s0.den, gamma: s0.den * offset.den };
    return addSteps(out, w, rule, shift, lo, hi, r0, 0) ? out : null;
  }
  const swapped = rangeSize(r0) < rangeSize(r1);
  const [inner, outer] = swapped ? [r1, r0] : [r0, r1];
  const [sInner, sOuter] = swapped ? [s1, s0] : [s0, s1];
  const rows = rangeSize(outer);
  if (rows > MAX_ROWS || rows * Math.min(hi - lo, rangeSize(inner)) > MAX_ROW_STEPS) return null;
  const gamma = sInner.den * sOuter.den * offset.den;
  const alpha = sInner.num * sOuter.den * offset.den;
  const step = sOuter.num * sInner.den * offset.den;
  const origin = offset.num * sInner.den * sOuter.den;
  for (let b = outer.min; b <= outer.max; b++) {
    const beta = origin + BigInt(b) * step;
    if (!addSteps(out, { alpha, beta, gamma }, rule, shift, lo, hi, inner, b)) return null;
  }
  if (!swapped) return out;
  const swap = ({ k, a, b }: Constraints["lower"]) => ({ k, a: b, b: a });
  return { ...out, lower: swap(out.lower), upper: swap(out.upper) };
}

/** The constants that make m (no factor of the sign opposite to its slope's) and n exact, or null. */
export function windowOf(p: Problem, m: readonly number[], n: number): Window | null {
  if (p.kind === "lattice") return latticeWindow(p.lattice, m, n);
  if (p.constant !== null && m.every((x) => x === 0)) return constantWindow(p.constant, n);
  const { lower, upper } = p.constraints;
  return pointsWindow(lower, upper, p.size, m[0] as number, m[1] ?? 0, n);
}

/** {@link windowOf} in BigInt throughout. */
export function exactWindowOf(p: Problem, m: readonly number[], n: number): Window | null {
  if (p.kind === "lattice" || p.constant !== null) return windowOf(p, m, n);
  return bigWindow(p.constraints.lower, p.constraints.upper, m[0] as number, m[1] ?? 0, n);
}

function constantWindow(y: number, n: number): Window {
  const unit = 1n << BigInt(n);
  const lo = BigInt(y) * unit;
  return { lo, hi: lo + unit - 1n };
}

const NEAR = 2 ** -12;

/**
 * Integers next to S·2ⁿ, |m| < 2^53, nearest first; also one beyond on either side when S·2ⁿ is (nearly) an integer. Never of the
 * opposite sign: the constraints at the ends of a range rely on the direction of the exact map.
 */
export function multipliers(s: Slope, n: number): number[] {
  if (s.exact.num === 0n) return [0];
  const sign = s.exact.num < 0n ? -1 : 1;
  return nearby(s, n).filter((m) => m * sign >= 0);
}

function nearby(s: Slope, n: number): number[] {
  const x = s.approx * 2 ** n;
  if (Math.abs(x) < 2 ** 40) {
    const below = Math.floor(x);
    if (x - below < NEAR) return [below, below + 1, below - 1];
    if (below + 1 - x < NEAR) return [below + 1, below, below + 2];
    return x - below < 0.5 ? [below, below + 1] : [below + 1, below];
  }
  if (!(Math.abs(x) < 2 ** 53 - 4)) return [];
  const below = Number(floorDiv(s.exact.num << BigInt(n), s.exact.den));
  return [below, below + 1, below - 1];
}

/** Whether boundaries that round up and boundaries that round down are both reachable. */
export const mixedTies = (p: Problem): boolean =>
  p.kind === "points" && p.constraints.tiesUp > 0 && p.constraints.tiesDown > 0;

export const hasTies = (p: Problem): boolean =>
  p.kind === "lattice" ? p.lattice.ties : p.constraints.tiesUp + p.constraints.tiesDown > 0;
