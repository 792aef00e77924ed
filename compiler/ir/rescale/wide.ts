/**
 * Class wide: operands whose scales are multiples Sᵢ = mᵢ·g of one rational, as products of float32 always are. The sum
 * A = Σ aᵢ·mᵢ is exact in two or three limbs of 30 bits, which leaves a requantization of the one integer A, decided by its thresholds.
 */
import {
  add,
  bitLength,
  ceilDiv,
  floor,
  floorDiv,
  maxBig,
  minBig,
  mul,
  type Rational,
  rational,
} from "../rational.ts";
import { type StepRule, stepInclusive, stepOffset, tieRules } from "./boundary.ts";
import { narrowFor } from "./lanes.ts";
import { buildLattice, type Lattice, latticeWindow } from "./lattice.ts";
import type { Certificate, IntRange, RequantSpec, RescaleWide } from "./types.ts";
import type { Window } from "./window.ts";

/** Limbs of the sum, its multiplier and the constants have 30 bits: three products of limbs are less than 64 bits. */
const LIMB = 30;
/** Of sums in so many limbs, with one bit of room to move the operands. */
const sumBits = (limbs: number): number => LIMB * limbs - 2;
/** Of a multiplier in so many limbs. */
const multiplierBits = (limbs: number): number => LIMB * limbs - 1;
/** Bound of Σ max |aᵢ|: products with one limb of the factors then add up to less than 64 bits. */
const OPERANDS = 2 ** 32;
/** Bits that the last limb may be shifted by. */
const LAST_SHIFT = 40;
/** Reachable outputs up to which every threshold is looked at; beyond, the common denominator decides. */
const MAX_STEPS = 4096;

/** The exact sum of one channel. */
interface Sum {
  readonly factors: readonly number[];
  /** Step of the result per unit of the sum; positive, or zero without factors. */
  readonly step: Rational;
  readonly min: bigint;
  readonly max: bigint;
  /** Limbs that hold the sum and its factors. */
  readonly limbs: number;
}

interface Problem {
  readonly step: Rational;
  readonly window: (w: bigint, n: number) => Window | null;
  readonly ties: boolean;
}

export interface WideSolution {
  readonly rescale: RescaleWide;
  readonly certificate: Certificate;
  /** Per channel, the admissible constants of each form. */
  readonly windows: readonly (readonly Window[])[];
}

/** The form and its proof, or why there is none. */
export function solveWide(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
): WideSolution | string {
  const sums = specs.map((spec, i) => sumOf(spec, ranges[i] as readonly IntRange[]));
  if (!sums.every((s) => s !== null))
    return "the scales have no common step of which all are moderate multiples";
  const [{ rounding }] = specs as readonly [RequantSpec];
  const rules = tieRules(rounding);
  let reason = "";
  const own = Math.max(...sums.map((s) => s.limbs));
  for (const limbs of [2, 3]) {
    const base = LIMB * (own + limbs - 2);
    const direct = solve(specs, sums, [rounding], true, limbs, base);
    const solved =
      typeof direct !== "string" || rules === null
        ? direct
        : solve(specs, sums, [rules.down, rules.up], false, limbs, base);
    const finished =
      typeof solved === "string" ? solved : finish(specs, ranges, sums, own, solved, rules?.select);
    if (typeof finished !== "string") return finished;
    reason = finished;
  }
  return reason;
}

interface Solved {
  readonly n: number;
  readonly limbs: number;
  readonly w: readonly bigint[];
  readonly windows: readonly (readonly Window[])[];
  readonly problems: readonly (readonly Problem[])[];
}

/** One multiplier per channel and a common shift that serve every rule. `shifted`: the zero point is part of the constant. */
function solve(
  specs: readonly RequantSpec[],
  sums: readonly Sum[],
  rules: readonly StepRule[],
  shifted: boolean,
  limbs: number,
  base: number,
): Solved | string {
  const problems: Problem[][] = [];
  for (const [i, spec] of specs.entries()) {
    const row = rules.map((rule) => problemOf(spec, sums[i] as Sum, rule, shifted));
    if (!row.every((p) => p !== null))
      return "ties that round up and ties that round down are both reachable";
    problems.push(row);
  }
  let n = base;
  for (const row of problems) {
    const least = leastShift(row, n, base + LAST_SHIFT, limbs);
    if (least === null) return `no multiplier of ${multiplierBits(limbs)} bits reproduces every rounding`;
    n = least;
  }
  const solved = problems.map((row) => solveAt(row, n, limbs));
  if (!solved.every((s) => s !== null)) return "no common shift serves every channel";
  return { n, limbs, w: solved.map((s) => s.w), windows: solved.map((s) => s.windows), problems };
}

/** A solution at n gives one at n + 1 by doubling. */
function leastShift(row: readonly Problem[], from: number, to: number, limbs: number): number | null {
  const step = (row[0] as Problem).step;
  let top = from;
  while (top < to && fits(nearest(step, top + 1), limbs)) top++;
  if (solveAt(row, top, limbs) === null) return null;
  let low = from - 1;
  let high = top;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (solveAt(row, middle, limbs) === null) low = middle;
    else high = middle;
  }
  return high;
}

const fits = (w: bigint, limbs: number): boolean => bitLength(w) <= multiplierBits(limbs);
const nearest = (s: Rational, n: number): bigint => floorDiv((s.num << BigInt(n + 1)) + s.den, 2n * s.den);

function solveAt(row: readonly Problem[], n: number, limbs: number): { w: bigint; windows: Window[] } | null {
  const best = nearest((row[0] as Problem).step, n);
  for (const w of [best, best + 1n, best - 1n]) {
    if (w < 0n || !fits(w, limbs)) continue;
    const windows: Window[] = [];
    for (const p of row) {
      const window = p.window(w, n);
      if (window !== null) windows.push(window);
    }
    if (windows.length < row.length) continue;
    const [down, up] = windows as [Window, Window?];
    if (up === undefined || (up.hi >= down.lo && up.lo <= down.hi + (1n << BigInt(n)))) return { w, windows };
  }
  return null;
}

/** Null when the factors or the sum have too many bits. */
function sumOf(spec: RequantSpec, ranges: readonly IntRange[]): Sum | null {
  // An operand that is always 0 may have any scale.
  const idle = (i: number): boolean => ranges[i]?.min === 0 && ranges[i]?.max === 0;
  const live = spec.scales.map((s, i) => (idle(i) ? rational(0n) : s));
  const whole = live.reduce((d, s) => (d % s.den === 0n ? d : (d / gcd(d, s.den)) * s.den), 1n);
  const multiples = live.map((s) => s.num * (whole / s.den));
  const common = multiples.reduce(gcd, 0n);
  const step = rational(common, whole);
  const factors = common === 0n ? multiples : multiples.map((x) => x / common);
  if (factors.some((f) => BigInt(Number(f)) !== f)) return null;
  let min = 0n;
  let max = 0n;
  let size = 0n;
  let operands = 0;
  for (const [i, f] of factors.entries()) {
    const range = ranges[i] as IntRange;
    if (range.min > range.max) return { factors: factors.map(Number), step, min: 0n, max: 0n, limbs: 2 };
    operands += Math.max(Math.abs(range.min), Math.abs(range.max));
    const ends = [f * BigInt(range.min), f * BigInt(range.max)] as const;
    min += minBig(...ends);
    max += maxBig(...ends);
    size += maxBig(...(ends.map((e) => (e < 0n ? -e : e)) as [bigint, bigint]));
  }
  const widest = factors.reduce((b, f) => Math.max(b, bitLength(f)), bitLength(size));
  const limbs = widest <= sumBits(2) ? 2 : 3;
  if (widest > sumBits(limbs) || operands > OPERANDS) return null;
  return { factors: factors.map(Number), step, min, max, limbs };
}

function gcd(a: bigint, b: bigint): bigint {
  let x = a < 0n ? -a : a;
  let y = b < 0n ? -b : b;
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

function problemOf(spec: RequantSpec, sum: Sum, rule: StepRule, shifted: boolean): Problem | null {
  const after = spec.order === "round_then_shift" ? Number(spec.zeroPoint.num) : 0;
  const offset = spec.order === "shift_then_round" ? add(spec.offset, spec.zeroPoint) : spec.offset;
  const [shift, lo, hi] = shifted ? [after, spec.lo, spec.hi] : [0, spec.lo - after - 1, spec.hi - after + 1];
  const { step, min, max } = sum;
  const reachable = (a: bigint): number => Number(floor(add(mul(step, rational(a)), offset))) + shift;
  // Of outputs that are not reached, those next to the reachable ones: they keep saturated results saturated.
  const within = (k: number): number => Math.min(Math.max(k, lo), hi);
  const first = Math.max(lo + 1, within(reachable(min) - 2));
  const last = Math.min(hi, within(reachable(max) + 2) + 1);
  if (last - first > MAX_STEPS) {
    const lattice = buildLattice([step], offset, rule, shift, lo, hi, [{ min, max }]);
    return lattice && fromLattice(step, lattice);
  }
  return fromThresholds(sum, offset, rule, shift, first, last);
}

const fromLattice = (step: Rational, lattice: Lattice): Problem => ({
  step,
  ties: lattice.ties,
  window: (w, n) => latticeWindow(lattice, [w], n),
});

/** Every reachable step: A·w + c ≥ k·2ⁿ at the least sum whose result is k, and < k·2ⁿ at the one before it. */
function fromThresholds(
  { step, min, max }: Sum,
  offset: Rational,
  rule: StepRule,
  shift: number,
  first: number,
  last: number,
): Problem {
  const p = step.num * offset.den;
  const b = offset.num * step.den;
  const q = step.den * offset.den;
  const lower: { k: bigint; at: bigint }[] = [];
  const upper: { k: bigint; at: bigint }[] = [];
  let ties = false;
  for (let k = first; k <= last; k++) {
    const j = k - shift;
    const inclusive = stepInclusive(rule, j);
    const edge = BigInt(2 * j + stepOffset(rule, j)) * q - 2n * b;
    // 2·p·A ≥ edge, or >.
    const least =
      p === 0n
        ? (inclusive ? edge <= 0n : edge < 0n)
          ? min
          : max + 1n
        : inclusive
          ? ceilDiv(edge, 2n * p)
          : floorDiv(edge, 2n * p) + 1n;
    if (p !== 0n && edge % (2n * p) === 0n && edge / (2n * p) >= min && edge / (2n * p) <= max) ties = true;
    if (least <= max) lower.push({ k: BigInt(k), at: maxBig(least, min) });
    if (least > min) upper.push({ k: BigInt(k), at: minBig(least - 1n, max) });
  }
  return {
    step,
    ties,
    window: (w, n) => {
      const unit = BigInt(n);
      let from: bigint | null = null;
      for (const { k, at } of lower) {
        const end = (k << unit) - at * w;
        if (from === null || end > from) from = end;
      }
      let to: bigint | null = null;
      for (const { k, at } of upper) {
        const end = (k << unit) - at * w - 1n;
        if (to !== null && end >= to) continue;
        to = end;
        if (from !== null && to < from) return null;
      }
      if (from !== null && to !== null) return { lo: from, hi: to };
      const size = (1n << unit) - 1n;
      if (from !== null) return { lo: from, hi: from + size };
      return to === null ? { lo: 0n, hi: size } : { lo: to - size, hi: to };
    },
  };
}

const middle = ({ lo, hi }: Window): bigint => (lo + hi) >> 1n;

function finish(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  sums: readonly Sum[],
  own: number,
  { n, limbs, w, windows, problems }: Solved,
  select: RescaleWide["select"],
): WideSolution | string {
  const [{ lo, hi }] = specs as readonly [RequantSpec];
  const tie = windows[0]?.length === 2;
  const unit = 1n << BigInt(n);
  const c: bigint[] = [];
  const cUp: bigint[] = [];
  for (const [down, up] of windows as readonly (readonly [Window, Window?])[]) {
    const own = up === undefined ? middle(down) : maxBig(down.lo, minBig(middle(down), up.hi));
    const low = up === undefined ? own : maxBig(own, up.lo - unit);
    c.push(low);
    if (up !== undefined) cUp.push(minBig(maxBig(middle(up), low), minBig(up.hi, low + unit)));
  }
  const zero = (s: RequantSpec): number => (s.order === "round_then_shift" ? Number(s.zeroPoint.num) : 0);
  const h = specs.map((s) => (tie ? zero(s) : 0));
  for (const [i, sum] of sums.entries()) {
    const top = cUp[i] ?? (c[i] as bigint);
    const ends = [sum.min * (w[i] as bigint) + (c[i] as bigint), sum.max * (w[i] as bigint) + top];
    const lanes = ends.map((x) => x >> BigInt(n)).flatMap((v) => [v, v + BigInt(h[i] as number)]);
    if (!lanes.every((v) => BigInt.asIntN(32, v) === v)) return "results before the clamp exceed 32 bits";
    const tops = [c[i] as bigint, top].map((x) => bitLength(x >> BigInt(LIMB * (own + limbs - 2))));
    if (tops.some((bits) => bits > 60)) return "the constants exceed their limbs";
    const [down, up] = windows[i] as readonly [Window, Window?];
    const inside = (x: bigint, window: Window) => x >= window.lo && x <= window.hi;
    if (!inside(c[i] as bigint, down) || (up !== undefined && !inside(cUp[i] as bigint, up)))
      throw new Error(`wide rescale of channel ${i} lies outside its certified interval`);
  }
  const m = sums.map((s) => s.factors);
  const rescale: RescaleWide = {
    class: "wide",
    ...(tie && select ? { form: "tie", select } : { form: "floor" }),
    n,
    lo,
    hi,
    h,
    narrow: narrowFor(lo, hi, h),
    m,
    c,
    cUp,
    w,
    mLimbs: factorLimbs(m, own),
    wLimbs: limbsOf(w, limbs).map((l) => l.map(Number)),
    cLimbs: limbsOf(c, own + limbs - 1),
    cUpLimbs: limbsOf(cUp, own + limbs - 1),
  };
  const signed = (min: bigint, max: bigint): number =>
    bitLength(maxBig(min < 0n ? -min - 1n : min, max < 0n ? -max - 1n : max)) + 1;
  const certificate: Certificate = {
    class: "wide",
    form: rescale.form,
    n,
    mBits: Math.max(...w.map(bitLength)),
    windowBits: Math.max(...sums.map((s) => signed(s.min, s.max))),
    accBits: Math.max(...ranges.flat().map((r) => signed(BigInt(r.min), BigInt(r.max)))),
    ties: problems.some((row) => row.some((p) => p.ties)),
    intervals: windows.map(([down]) => down as Window),
  };
  return { rescale, certificate, windows };
}

/** [limb][channel][operand] of the factors of the sum. */
function factorLimbs(m: readonly (readonly number[])[], limbs: number): number[][][] {
  const rows = m.map((row) => limbsOf(row.map(BigInt), limbs));
  return Array.from({ length: limbs }, (_, l) => rows.map((row) => (row[l] as bigint[]).map(Number)));
}

/** [limb][value], least limb first; all but the last are not negative. */
export const limbsOf = (values: readonly bigint[], count: number): bigint[][] =>
  Array.from({ length: count }, (_, l) =>
    values.map((x) =>
      l === count - 1 ? x >> BigInt(LIMB * l) : BigInt.asUintN(LIMB, x >> BigInt(LIMB * l)),
    ),
  );
