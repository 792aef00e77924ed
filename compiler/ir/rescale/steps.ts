import { ceilDiv, toNumber } from "../rational.ts";
import { clampedStep, type StepRule, stepInclusive, stepOffset } from "./boundary.ts";
import type { IntRange } from "./types.ts";

/** w(a) = (a·alpha + beta) / gamma, gamma > 0. */
export interface Affine {
  readonly alpha: bigint;
  readonly beta: bigint;
  readonly gamma: bigint;
}

/** A list of (output k, operands a and b); b is 0 when there is one operand. */
export interface Points {
  readonly k: number[];
  readonly a: number[];
  readonly b: number[];
}

/**
 * The conditions on c for ⌊(a·m₁ + b·m₂ + c) / 2ⁿ⌋ to be exact, for every m and n:
 * c ≥ k·2ⁿ − a·m₁ − b·m₂ for each point of `lower`, c < k·2ⁿ − a·m₁ − b·m₂ for each point of `upper`.
 */
export interface Constraints {
  readonly lower: Points;
  readonly upper: Points;
  /** Reachable rounding boundaries that round up / that round down. */
  tiesUp: number;
  tiesDown: number;
  /** Widest range of a in which the output does not saturate. */
  window: IntRange;
  /** Least and greatest output. */
  first: number;
  last: number;
}

export const emptyConstraints = (): Constraints => ({
  lower: { k: [], a: [], b: [] },
  upper: { k: [], a: [], b: [] },
  tiesUp: 0,
  tiesDown: 0,
  window: { min: 0, max: 0 },
  first: Number.POSITIVE_INFINITY,
  last: Number.NEGATIVE_INFINITY,
});

/** A convex hull under construction; x non-decreasing and y increasing. */
interface Hull {
  readonly x: number[];
  readonly y: number[];
  /** Entries behind it are left over. */
  size: number;
}

const hull = (): Hull => ({ x: [], y: [], size: 0 });

/** Appends (x, y); `turn` is +1 for the upper hull, −1 for the lower. */
function pushHull(to: Hull, x: number, y: number, turn: 1 | -1): void {
  const { x: xs, y: ys } = to;
  let n = to.size;
  if (n > 0 && xs[n - 1] === x) {
    if (turn < 0) return;
    n--;
  }
  for (; n >= 2; n--) {
    const x1 = xs[n - 1]!;
    const y1 = ys[n - 1]!;
    if (turn * ((y1 - ys[n - 2]!) * (x - x1) - (y - y1) * (x1 - xs[n - 2]!)) > 0) break;
  }
  xs[n] = x;
  ys[n] = y;
  to.size = n + 1;
}

/** Thresholds of the steps being looked at, and their distances from where an unrounded line would step. */
let thresholds = new Float64Array(1024);
let distances = new Float64Array(1024);

/**
 * Indices, in order, among the first n steps that can be vertices of the hull of the least (sign 1) or greatest (sign −1) distances:
 * left of the extreme a vertex is beyond all before it, right of it beyond all after it. Distances are known within `slack` / 2.
 */
function extremes(n: number, sign: 1 | -1, slack: number): number[] {
  const all = distances;
  const list: number[] = [];
  let upTo = 0;
  let best = Number.POSITIVE_INFINITY;
  let bound = best;
  for (let i = 0; i < n; i++) {
    const d = sign * all[i]!;
    if (d >= bound) continue;
    list.push(i);
    if (d < best) {
      best = d;
      bound = best + slack;
      upTo = list.length;
    }
  }
  // The extreme, or within the slack of it: what is left of it and equals it is in the list, what is right of it comes next.
  list.length = upTo;
  const ahead: number[] = [];
  const end = list[upTo - 1]!;
  best = Number.POSITIVE_INFINITY;
  bound = best;
  for (let i = n - 1; i > end; i--) {
    const d = sign * all[i]!;
    if (d >= bound) continue;
    ahead.push(i);
    if (d < best) {
      best = d;
      bound = best + slack;
    }
  }
  return list.concat(ahead.reverse());
}

/** Thresholds ⌈(start + i)·inverse⌉ from i on, up to the first that the error leaves open; returns its index, or n. */
function estimateSteps(from: number, n: number, start: number, inverse: number, error: number): number {
  const [steps, rests] = [thresholds, distances];
  let i = from;
  for (; i < n; i++) {
    const x = (start + i) * inverse;
    const below = Math.floor(x);
    const rest = x - below;
    // Not true for NaN either.
    if (!(rest > error && 1 - rest > error)) break;
    steps[i] = below + 1;
    rests[i] = below + 1 - x;
  }
  return i;
}

/** Outputs beyond this many steps are not enumerated. */
export const MAX_STEPS = 1 << 18;

/**
 * Adds to `out` the conditions for clamp(R(w(a)) + shift, lo, hi) over `range` at a fixed b. Only the vertices of the convex
 * hull of the steps are kept: a bound linear in (k, a) is extreme there. Returns false, leaving `out` unchanged, when
 * there are more than MAX_STEPS steps and as many accumulators.
 *
 * A threshold T (least a′ whose output reaches k; a′ = ±a makes w non-decreasing) comes from a double when its error bound
 * keeps it clear of every integer, else from one exact integer division.
 * Cross products of hull points stay below 2^53: |a| ≤ 2^32 and at most 2^18 steps.
 */
export function addSteps(
  out: Constraints,
  w: Affine,
  rule: StepRule,
  shift: number,
  lo: number,
  hi: number,
  range: IntRange,
  b: number,
): boolean {
  if (range.min > range.max) return true;
  const mirrored = w.alpha < 0n;
  const alpha = mirrored ? -w.alpha : w.alpha;
  const { beta, gamma } = w;
  const aMin = mirrored ? -range.max : range.min;
  const aMax = mirrored ? -range.min : range.max;
  const jLo = lo - shift;
  const jHi = hi - shift;
  const numMin = BigInt(aMin) * alpha + beta;
  const numMax = BigInt(aMax) * alpha + beta;
  const first = clampedStep(numMin, gamma, rule, jLo, jHi);
  const last = alpha === 0n ? first : clampedStep(numMax, gamma, rule, jLo, jHi);
  if (last - first > MAX_STEPS) {
    // Steps that few accumulators jump over.
    if (aMax - aMin >= MAX_STEPS) return false;
    const sign = mirrored ? -1 : 1;
    addValues(out, { alpha, beta, gamma }, rule, shift, [jLo, jHi], [aMin, aMax], sign, b);
    out.first = Math.min(out.first, first + shift);
    out.last = Math.max(out.last, last + shift);
    return true;
  }

  const lower = hull();
  const upper = hull();
  let windowMin = aMin;
  let windowMax = aMax;
  if (first > jLo) {
    pushHull(lower, aMin, first, 1);
    if (onBoundary(numMin, gamma, rule, first)) out.tiesUp++;
  }
  if (first < last) {
    const inverse = ratio(gamma, alpha);
    const intercept = ratio(beta, gamma);
    const reach = Math.abs(intercept) + Math.max(Math.abs(first), Math.abs(last)) + 1;
    const error = inverse * reach * 2 ** -49;
    // Beyond the range of doubles no distance is known: every step is divided exactly and kept.
    const bounded = Number.isFinite(error);
    const divisor = 2n * alpha;
    const n = last - first;
    if (thresholds.length < n) {
      thresholds = new Float64Array(n);
      distances = new Float64Array(n);
    }
    const [steps, rests] = [thresholds, distances];
    const bent = stepOffset(rule, first + 1) !== stepOffset(rule, last);
    for (let i = 0; i < n; ) {
      const offset = stepOffset(rule, first + 1 + i);
      const end = bent && first + i < 0 ? -first : n;
      i = estimateSteps(i, end, first + 1 + offset / 2 - intercept, inverse, error);
      if (i === end) continue;
      const j = first + 1 + i;
      const target = BigInt(2 * j + offset) * gamma - 2n * beta;
      const inclusive = stepInclusive(rule, j);
      const ceiling = ceilDiv(target, divisor);
      const exact = ceiling * divisor === target;
      steps[i] = Number(exact && !inclusive ? ceiling + 1n : ceiling);
      rests[i] = bounded ? steps[i]! - (j + offset / 2 - intercept) * inverse : 0;
      if (exact && inclusive) out.tiesUp++;
      else if (exact) out.tiesDown++;
      i++;
    }
    if (first === jLo) windowMin = steps[0]! - 1;
    if (last === jHi) windowMax = steps[n - 1]!;
    // Distances are from one line unless the rule bends it at zero.
    const slack = bent || !bounded ? Number.POSITIVE_INFINITY : 2 * error;
    for (const i of extremes(n, 1, slack)) pushHull(lower, steps[i]!, first + 1 + i, 1);
    for (const i of extremes(n, -1, slack)) pushHull(upper, steps[i]! - 1, first + 1 + i, -1);
  }
  if (last < jHi) {
    pushHull(upper, aMax, last + 1, -1);
    if (onBoundary(numMax, gamma, rule, last + 1)) out.tiesDown++;
  }

  const sign = mirrored ? -1 : 1;
  append(out.lower, lower, shift, sign, b);
  append(out.upper, upper, shift, sign, b);
  const span = mirrored ? { min: -windowMax, max: -windowMin } : { min: windowMin, max: windowMax };
  if (first < last) {
    out.window = { min: Math.min(out.window.min, span.min), max: Math.max(out.window.max, span.max) };
  }
  out.first = Math.min(out.first, first + shift);
  out.last = Math.max(out.last, last + shift);
  return true;
}

/**
 * The same conditions, one pair for every a in aMin … aMax instead of every step: its output and no more than it. For at most
 * MAX_STEPS values of a, whatever the outputs.
 */
function addValues(
  out: Constraints,
  { alpha, beta, gamma }: Affine,
  rule: StepRule,
  shift: number,
  [jLo, jHi]: readonly [number, number],
  [aMin, aMax]: readonly [number, number],
  sign: 1 | -1,
  b: number,
): void {
  const lower = hull();
  const upper = hull();
  let windowMin = aMin;
  let windowMax = aMax;
  let num = BigInt(aMin) * alpha + beta;
  let [before, j] = [jLo, clampedStep(num, gamma, rule, jLo, jHi)];
  for (let a = aMin; a <= aMax; a++) {
    const following = num + alpha;
    const next = a < aMax ? clampedStep(following, gamma, rule, jLo, jHi) : Number.POSITIVE_INFINITY;
    // Of equal outputs, which only saturation makes, the first is the hardest to reach and the last the hardest not to exceed.
    if (j > before) {
      pushHull(lower, a, j, 1);
      if (onBoundary(num, gamma, rule, j)) out.tiesUp++;
    }
    if (j < next && j < jHi) {
      pushHull(upper, a, j + 1, -1);
      if (onBoundary(num, gamma, rule, j + 1)) out.tiesDown++;
    }
    if (j === jLo) windowMin = a;
    if (j === jHi) windowMax = Math.min(windowMax, a);
    [before, j, num] = [j, next, following];
  }
  append(out.lower, lower, shift, sign, b);
  append(out.upper, upper, shift, sign, b);
  const [min, max] = sign < 0 ? [-windowMax, -windowMin] : [windowMin, windowMax];
  out.window = { min: Math.min(out.window.min, min), max: Math.max(out.window.max, max) };
}

function onBoundary(num: bigint, den: bigint, rule: StepRule, j: number): boolean {
  return 2n * num === BigInt(2 * j + stepOffset(rule, j)) * den;
}

function append(to: Points, from: Hull, shift: number, sign: 1 | -1, b: number): void {
  for (let i = 0; i < from.size; i++) {
    to.k.push(from.y[i]! + shift);
    to.a.push(sign * from.x[i]!);
    to.b.push(b);
  }
}

/** Within three roundings. */
function ratio(num: bigint, den: bigint): number {
  const [n, d] = [Number(num), Number(den)];
  return Number.isFinite(n) && Number.isFinite(d) ? n / d : toNumber({ num, den });
}
