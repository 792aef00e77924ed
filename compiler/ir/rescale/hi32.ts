import { isInt32, narrowFor, type TensorFacts } from "./lanes.ts";
import { admissibleLines, type Polygon } from "./polygon.ts";
import { exactWindowOf, type PointsProblem, type Problem } from "./problem.ts";
import type { ChannelSolution, Solution } from "./search.ts";
import type { Points } from "./steps.ts";
import type { IntRange, RescaleHi32 } from "./types.ts";

/**
 * Class hi32 has no room for an arbitrary c: it needs integers a0 and h with c = a0·m + h·2ⁿ, so the line of slope m / 2ⁿ must meet
 * output h at the integer −a0. Few outputs h have an admissible line that does, so h is chosen per channel, nearest to the
 * outputs first: the further −a0 lies from the accumulators, the more bits m needs.
 */
const MAX_DISTANCE = 1024;

/** Admissible slopes [low, high] of lines through (−a0, h); whether the ends belong is checked exactly later. */
interface Fan {
  readonly h: number;
  readonly a0: number;
  readonly low: number;
  readonly high: number;
}

interface Channel {
  readonly problem: PointsProblem;
  readonly range: IntRange;
  readonly lines: Polygon | null;
  /** Outputs h left to try: middle, middle − 1, middle + 1, … within [low, high]. */
  readonly middle: number;
  readonly low: number;
  readonly high: number;
  tried: number;
  readonly found: Fan[];
}

interface Pick {
  readonly m: number;
  readonly a0: number;
  readonly h: number;
}

/** One operand, floor form, at the least n = 32 + k at which every channel has an exact (m, a0, h); else null. */
export function toHi32(
  problems: readonly Problem[],
  solution: Solution,
  facts: TensorFacts,
): RescaleHi32 | null {
  const channels: Channel[] = [];
  let steepest = 0;
  for (const [i, problem] of problems.entries()) {
    if (problem.kind !== "points" || problem.slopes.length !== 1 || facts.tie) return null;
    const solved = solution.channels[i] as ChannelSolution;
    const range = (facts.ranges[i] as readonly [IntRange])[0];
    steepest = Math.max(steepest, Math.abs(solved.m[0] as number) / 2 ** solution.n);
    channels.push(channelOf(problem, solved, solution.n, range, facts));
  }
  const picked = pickAll(channels, (k) => k <= 31 && steepest * 2 ** (32 + k) < 2 ** 31);
  if (picked === null) return null;
  const { k, picks } = picked;
  const n = 32 + k;
  const h = picks.map((p) => p.h);
  return {
    class: "hi32",
    form: "floor",
    n,
    k,
    lo: facts.lo,
    hi: facts.hi,
    h,
    narrow: narrowFor(facts.lo, facts.hi, h),
    m: picks.map((p) => [p.m]),
    c: picks.map((p) => constantOf(p, n)),
    cUp: [],
    a0: picks.map((p) => p.a0),
  };
}

const constantOf = ({ m, a0, h }: Pick, n: number): bigint =>
  BigInt(a0) * BigInt(m) + (BigInt(h) << BigInt(n));

/** The least k that serves every channel. What holds at k holds at k + 1 with 2m, so k only grows along the channels. */
function pickAll(
  channels: readonly Channel[],
  allowed: (k: number) => boolean,
): { k: number; picks: Pick[] } | null {
  let k = 0;
  let first = 0;
  let picks: Pick[] = [];
  for (let i = 0; allowed(k); ) {
    const at = (first + i) % channels.length;
    const pick = pickOne(channels[at] as Channel, 32 + k);
    if (pick === null) {
      // The others must be picked again for the larger k, after this one.
      k++;
      first = at;
      i = 0;
      picks = [];
      continue;
    }
    picks[at] = pick;
    if (++i === channels.length) return { k, picks };
  }
  return null;
}

/** The first fan, in order of distance, that holds an exact multiplier at shift n. */
function pickOne(channel: Channel, n: number): Pick | null {
  const { problem, range, found } = channel;
  if (problem.constant !== null) return { m: 0, a0: 0, h: problem.constant };
  const unit = 2 ** n;
  for (let i = 0; i < found.length || findFans(channel); i++) {
    const { low, high, a0, h } = found[i] as Fan;
    const m = Math.round(((low + high) / 2) * unit);
    if (m < low * unit || m > high * unit) continue;
    const pick = { m, a0, h };
    if (isExact(problem, pick, n, range)) return pick;
  }
  return null;
}

/** ⌊x·m / 2ⁿ⌋ for int32 x, |m| < 2^31 and n ≥ 32, exactly: both halves of the product stay below 2^53. */
function quotient(x: number, m: number, unit: number): number {
  const high = Math.floor(m / 65536);
  const upper = x * high + Math.floor((x * (m - high * 65536)) / 65536);
  return Math.floor(upper / (unit / 65536));
}

function isExact(problem: PointsProblem, pick: Pick, n: number, range: IntRange): boolean {
  const { m, a0, h } = pick;
  if (Math.abs(m) >= 2 ** 31) return false;
  const unit = 2 ** n;
  for (const a of [range.min, range.max]) if (!isInt32(quotient(a + a0, m, unit) + h)) return false;
  const { lower, upper } = problem.constraints;
  if (lower.k.length === 0 || upper.k.length === 0) {
    const c = constantOf(pick, n);
    const window = exactWindowOf(problem, [m], n);
    return window !== null && c >= window.lo && c <= window.hi;
  }
  for (let i = 0; i < lower.k.length; i++)
    if (quotient(lower.a[i]! + a0, m, unit) + h < lower.k[i]!) return false;
  for (let i = 0; i < upper.k.length; i++)
    if (quotient(upper.a[i]! + a0, m, unit) + h >= upper.k[i]!) return false;
  return true;
}

function channelOf(
  problem: PointsProblem,
  { m, windows }: ChannelSolution,
  n: number,
  range: IntRange,
  facts: TensorFacts,
): Channel {
  const { lower, upper, first, last } = problem.constraints;
  const [window] = windows;
  const slope = m[0] as number;
  const middle = Math.round((first + last) / 2);
  const lines =
    problem.constant !== null || window === undefined || slope === 0
      ? null
      : admissibleLines(lower, upper, slope, Number(window.lo + window.hi) / 2, n, middle);
  const bytes = narrowFor(facts.lo, facts.hi, [0]) === "i16";
  const low = bytes ? Math.max(facts.hi - 32767, -32768) : -(2 ** 30);
  const high = bytes ? Math.min(facts.lo + 32768, 32767) : 2 ** 30;
  return { problem, range, lines, middle, low, high, tried: 0, found: [] };
}

/** False if surely no admissible line meets output h at an integer. */
function mayMeet({ at, per, centre, reach, spread }: Polygon, h: number): boolean {
  const a = at[0]! - h * per[0]!;
  const width = reach + Math.abs(h - centre) * spread + Math.abs(a) * 2 ** -46;
  return Math.floor(a + width) >= a - width;
}

/** Appends the fans of the next h that has any to `found`; false when none is left. */
function findFans(channel: Channel): boolean {
  const { lines, middle, low, high, found, problem, range } = channel;
  if (lines === null) return false;
  const { at, per } = lines;
  const before = found.length;
  while (found.length === before && channel.tried <= 2 * MAX_DISTANCE) {
    const step = channel.tried++;
    const h = step % 2 === 0 ? middle + step / 2 : middle - (step + 1) / 2;
    if (h < low || h > high || !mayMeet(lines, h)) continue;
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < at.length; i++) {
      const a0 = (at[i] as number) - h * (per[i] as number);
      if (a0 < min) min = a0;
      if (a0 > max) max = a0;
    }
    const end = Math.min(Math.floor(max), Math.ceil(min) + 2);
    for (let a0 = Math.ceil(min); a0 <= end; a0++) {
      if (!isInt32(a0) || !isInt32(range.min + a0) || !isInt32(range.max + a0)) continue;
      const fan = { h, a0, low: -1, high: 1 };
      narrowSlopes(fan, problem.constraints.lower, 1);
      narrowSlopes(fan, problem.constraints.upper, -1);
      if (fan.low <= fan.high) found.push(fan);
    }
  }
  return found.length > before;
}

/** Intersects the slopes s with (a + a0)·s ≥ k − h (side 1) or < k − h (side −1, closed here) over all points. */
function narrowSlopes(
  fan: { h: number; a0: number; low: number; high: number },
  list: Points,
  side: 1 | -1,
): void {
  for (let i = 0; i < list.k.length; i++) {
    const x = side * ((list.a[i] as number) + fan.a0);
    const d = side * ((list.k[i] as number) - fan.h);
    if (x > 0) fan.low = Math.max(fan.low, d / x);
    else if (x < 0) fan.high = Math.min(fan.high, d / x);
    else if (d > 0) fan.low = Number.POSITIVE_INFINITY;
  }
}
